"""What came of a request to change something."""

from dataclasses import dataclass

from vmapi.domain.operation import Operation
from vmapi.domain.snapshot import VMSnapshot


@dataclass(frozen=True, slots=True)
class ChangeResult:
    """The operation, and the VM unless it is gone.

    `replayed` tells that the request was carried out before, under the same key.
    """

    operation: Operation
    snapshot: VMSnapshot | None
    replayed: bool = False
