"""Check the pages: links, paths, samples and settings are real; sentences are short."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tests.support.documentation import PAGES, code_blocks, page_name, without_code
from tests.support.processes import ROOT
from tests.support.sample_addresses import is_reserved_for_samples
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.settings.settings import Settings

LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
GENERATED = {
    f"docs/reference/{name}.md"
    for name in ("settings", "problems", "commands", "authorization", "metrics", "logs")
}
NEWER_THAN_CURL_7_81 = re.compile(
    r"--json|%header\{|%\{header_json|--url-query|--variable|--expand-|--rate |%output\{|%\{certs"
    r"|--remove-on-error|--no-clobber|--ca-native|%\{exitcode\}.*%header"
)
IPV4_ADDRESS = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
MAX_SENTENCE_WORDS = 25
HAND_WRITTEN = [page for page in PAGES if page_name(page) not in GENERATED]


def check(files: Iterable[Path], find_defects: Callable[[Path], Iterable[object]]) -> None:
    """Check that no file has a defect; report those of all files."""
    defects = {page_name(file): [*find_defects(file)] for file in files}
    assert {name: found for name, found in defects.items() if found} == {}


def is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def find_malformed_blocks(page: Path) -> Iterator[object]:
    for block in code_blocks(page):
        if NEWER_THAN_CURL_7_81.search(block.text):
            yield "an option that curl 7.81 lacks", block
        if block.language == "json" and "…" not in block.text and not is_json(block.text):
            yield "no JSON", block
        if not re.fullmatch(r"(server|output|fails|file: \S+|not run: \S.+|)", block.mark):
            yield "an unknown mark", block
        for test in re.findall(r"tests/\S+\.py", block.mark):
            if not (ROOT / test).exists():
                yield "an unknown test", block


def test_blocks_of_pages_are_well_formed() -> None:
    check(PAGES, find_malformed_blocks)


def settings_blocks() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in code_blocks(page):
            if block.language == "dotenv":
                yield page_name(page), block.text


@pytest.mark.parametrize(("page", "text"), [*settings_blocks()])
def test_settings_of_a_page_are_allowed(
    page: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(text)
    with monkeypatch.context() as context:
        # the file is read into the environment
        context.setattr("os.environ", {})
        Settings.load(tmp_path / ".env")


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the headings of a page."""
    titles = re.findall(r"^#+ (.*)$", without_code(page), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def find_dead_links(page: Path) -> Iterator[str]:
    for link in LINK.findall(without_code(page)):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield link


def test_links_of_pages_lead_somewhere() -> None:
    check(PAGES, find_dead_links)


def find_missing_paths(page: Path) -> Iterator[str]:
    for path in re.findall(r"`((?:vmapi|tests|config|bench|deploy)/[\w./-]+)`", page.read_text()):
        if not (ROOT / path).exists():
            yield path


def test_code_that_pages_name_exists() -> None:
    check(PAGES, find_missing_paths)


def find_addresses_of_hosts(file: Path) -> Iterator[str]:
    for address in IPV4_ADDRESS.findall(file.read_text()):
        is_local = address.startswith(("127.", "0.0.0.0"))
        if not is_local and not is_reserved_for_samples(address):
            yield address


def test_addresses_of_vms_in_samples_belong_to_no_host() -> None:
    samples = [ROOT / "vmapi/api/openapi/examples.py", ROOT / "bench/nova.py"]
    check([*PAGES, *samples], find_addresses_of_hosts)


def test_problems_of_a_page_have_the_titles_of_the_api() -> None:
    sample = re.compile(r'"title": "([^"]+)".{1,40}"code": "(\w+)"', re.S)
    samples = [match for page in PAGES for match in sample.findall(page.read_text())]
    assert len(samples) > 1
    for title, code in samples:
        assert title == PROBLEM_TYPES[code].title


def sentences(page: Path) -> Iterator[str]:
    """Yield the sentences of a page; a table cell, a list item and a heading are one each."""
    text = re.sub(r"\]\([^)]*\)", "]", re.sub(r"`[^`]*`", "code", without_code(page)))
    text = re.sub(r"<!--.*?-->", "", text, flags=re.S)
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*#|]|\d+\.) ?)| \| ", text):
        yield from re.split(r"(?<=[.!?;])[*\"')]*\s+", paragraph)


def find_long_sentences(page: Path) -> Iterator[tuple[int, str]]:
    for sentence in sentences(page):
        count = len(re.findall(r"[\w'/-]+", sentence))
        if count > MAX_SENTENCE_WORDS:
            yield count, sentence


def test_sentences_of_pages_are_short() -> None:
    check(HAND_WRITTEN, find_long_sentences)
