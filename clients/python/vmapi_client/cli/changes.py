"""Changes of several VMs: send them, report each result, and choose the exit code."""

import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from vmapi_client.cli.exit_codes import (
    SUCCESS,
    combine_exit_codes,
    exit_code_of,
    print_error,
)
from vmapi_client.cli.output.formats import OutputFormat
from vmapi_client.cli.output.render import print_records
from vmapi_client.cli.output.standard_streams import surviving_readers
from vmapi_client.cli.output.views import VM_VIEW
from vmapi_client.cli.progress import Progress
from vmapi_client.errors import VmapiError

if TYPE_CHECKING:
    from vmapi_client.models import VM

CONCURRENT_CHANGES = 8


@dataclass(frozen=True)
class Result:
    """The result for one VM: the VM after the change, or an error."""

    name: str
    vm: "VM | None" = None
    error: VmapiError | None = None
    advice: str = ""
    vm_id: str = ""

    @property
    def exit_code(self) -> int:
        """The exit code of the result."""
        return SUCCESS if self.error is None else exit_code_of(self.error)

    def describe(self) -> str:
        """Return the state of the VM, or `failed`."""
        if self.error is not None or self.vm is None:
            return "failed"
        return f"{self.vm.status} {self.vm.task or ''}".strip()


def label_vms(vms: Sequence["VM"]) -> dict[str, "VM"]:
    """Return VMs by name; those that share a name by id."""
    counts = Counter(vm.name for vm in vms)
    return {vm.name if counts[vm.name] == 1 else vm.id: vm for vm in vms}


def run_each(names: Sequence[str], send: Callable[[str], "VM"], progress: Progress) -> list[Result]:
    """Send a change for each name at the same time, and return the results in order."""

    def run(name: str) -> Result:
        try:
            return Result(name, send(name))
        except VmapiError as error:
            return Result(name, getattr(error, "vm", None), error)

    results: dict[int, Result] = {}
    pool = ThreadPoolExecutor(CONCURRENT_CHANGES)
    try:
        with progress:
            futures = {pool.submit(run, name): index for index, name in enumerate(names)}
            for future in as_completed(futures):
                result = results[futures[future]] = future.result()
                progress.report(result.name, result.describe())
    finally:
        # after Ctrl-C no thread delays the end
        pool.shutdown(wait=False, cancel_futures=True)
    return [results[index] for index in sorted(results)]


def finish(results: Sequence[Result], chosen: OutputFormat, codes: Sequence[int] = ()) -> int:
    """Print the changed VMs to stdout and the errors to stderr, and return the exit code."""
    changed = [result.vm for result in results if result.vm is not None and result.error is None]
    if changed:
        # the errors and the exit code count also without a reader of the data
        with surviving_readers():
            print_records(changed, VM_VIEW, chosen)
    for result in results:
        if result.error is not None:
            print_error(result.error, result.name, result.advice)
    return combine_exit_codes([*codes, *(result.exit_code for result in results)])


class ChangeKeys:
    """The idempotency keys of the changes of a command, made from one key.

    So a repeat of the whole command with that key makes no change again.
    """

    def __init__(self, key: str | None, count: int) -> None:
        self._is_single = count == 1
        self._key = key if key is not None or self._is_single else str(uuid.uuid4())

    def of(self, name: str) -> str | None:
        """Return the key of the change of a VM; None if the client chooses it."""
        return self._key if self._is_single else f"{self._key} {quote(name)}"
