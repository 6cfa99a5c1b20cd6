"""The code blocks of the Markdown pages, for the tests that run them."""

import re
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import ROOT

PAGES = sorted(
    [ROOT / "README.md", ROOT / "clients/python/README.md", *(ROOT / "docs").rglob("*.md")]
)
BLOCK = re.compile(r"(?:<!-- ([^\n]*) -->\n)?```(\w*)\n(.*?)```\n", re.S)
RUN_LANGUAGES = ("sh", "bash", "python")


@dataclass(frozen=True)
class CodeBlock:
    """A fenced block, with the HTML comment directly above it."""

    mark: str
    language: str
    text: str

    @property
    def is_run(self) -> bool:
        return self.language in RUN_LANGUAGES and not self.mark.startswith(("file: ", "not run: "))

    @property
    def file(self) -> str | None:
        """The name of the file that the block is the content of."""
        return self.mark.removeprefix("file: ") if self.mark.startswith("file: ") else None


def page_name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code_blocks(page: Path) -> list[CodeBlock]:
    return [CodeBlock(mark or "", *rest) for mark, *rest in BLOCK.findall(page.read_text())]


def without_code(page: Path) -> str:
    """Return the text of a page without its code blocks."""
    return BLOCK.sub("", page.read_text())


def write_files(page: str, folder: Path) -> None:
    """Write the files that a page shows into a folder."""
    for block in code_blocks(ROOT / page):
        if block.file:
            (folder / block.file).write_text(block.text)


def write_short_sleep(folder: Path) -> None:
    """Write a `sleep` that sleeps less."""
    sleep = folder / "sleep"
    sleep.write_text("#!/bin/sh\nexec /bin/sleep 0.05\n")
    sleep.chmod(0o755)
