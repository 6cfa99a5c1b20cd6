"""What the handlers call, made by the composition root."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vmapi.backends.guarded import Guarded
from vmapi.security.gate import Gate
from vmapi.services.bulk import Bulk
from vmapi.services.catalog import Catalog
from vmapi.services.chore import Chore
from vmapi.services.cursors import Cursors
from vmapi.services.events import Events
from vmapi.services.operations import Operations
from vmapi.services.quotas import Usage
from vmapi.services.rates import Rates
from vmapi.services.readiness import Readiness
from vmapi.services.tokens import Tokens
from vmapi.services.vms import VMs
from vmapi.store.store import Store


class Runner(Protocol):
    """What runs beside the requests."""

    def wake(self, operation_id: str | None = None) -> None:
        """Look for work now."""
        ...

    def stop(self) -> None:
        """Stop running."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """The services of one app."""

    base_path: str
    version: str
    backend: Guarded
    catalog: Catalog
    vms: VMs
    bulk: Bulk
    operations: Operations
    cursors: Cursors
    events: Events
    chores: Mapping[str, Chore]
    engine: Runner
    store: Store
    gate: Gate
    tokens: Tokens
    readiness: Readiness
    rates: Rates
    draining: threading.Event
    usage: Usage
