"""The progress of waiting commands on stderr: a bar on a terminal, plain lines elsewhere."""

import os
import sys
from types import TracebackType
from typing import Any

from vmapi_client.cli.output.formats import print_line


class Progress:
    """Reports the end of each of `total` changes; nothing if it is disabled."""

    def __init__(self, verb: str, total: int, *, enabled: bool) -> None:
        self._verb = verb
        self._total = total
        self._enabled = enabled
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> "Progress":
        if self._enabled and sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
            try:
                self._start_bar()
            except BaseException:
                # Ctrl-C during the first drawing
                self._stop_bar()
                raise
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop_bar()

    def report(self, name: str, state: str) -> None:
        """Report that the change of a VM has ended."""
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=f"{self._verb} {name}: {state}")
        elif self._enabled:
            print_line(f"{name}: {state}")

    def _stop_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(self._verb, total=self._total)
        self._bar.start()
