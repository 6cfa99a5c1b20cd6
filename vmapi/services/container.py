"""What the handlers call, made by the composition root."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from vmapi.auth.authenticator import Gate
from vmapi.backends.breaker_backend import Guarded
from vmapi.services.access.api_tokens import Tokens
from vmapi.services.access.rate_limits import Rates
from vmapi.services.catalog import Catalog
from vmapi.services.cursors import Cursors
from vmapi.services.events.feed import Events
from vmapi.services.health import Readiness
from vmapi.services.operations.service import Operations
from vmapi.services.periodic import Chore
from vmapi.services.quotas import Usage
from vmapi.services.vms.bulk import Bulk
from vmapi.services.vms.service import VMs
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
