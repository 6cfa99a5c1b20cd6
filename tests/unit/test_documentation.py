"""Check the pages: links, paths, samples and settings are real; sentences are short."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.documentation import PAGES, code_blocks, page_name, without_code
from tests.support.processes import ROOT
from tests.support.sample_addresses import is_reserved_for_samples
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.settings.settings import Settings

LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
GENERATED = {
    f"docs/reference/{name}.md" for name in ("settings", "problems", "commands", "authorization")
}
NEWER_THAN_CURL_7_81 = re.compile(
    r"--json|%header\{|%\{header_json|--url-query|--variable|--expand-|--rate |%output\{|%\{certs"
    r"|--remove-on-error|--no-clobber|--ca-native|%\{exitcode\}.*%header"
)
IPV4_ADDRESS = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])")
MAX_SENTENCE_WORDS = 25
HAND_WRITTEN = [page for page in PAGES if page_name(page) not in GENERATED]


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_blocks_of_a_page_are_well_formed(page: Path) -> None:
    for block in code_blocks(page):
        assert not NEWER_THAN_CURL_7_81.search(block.text), block.text
        if block.language == "json" and "…" not in block.text:
            json.loads(block.text)
        assert re.fullmatch(r"(server|output|fails|file: \S+|not run: \S.+|)", block.mark), block
        for test in re.findall(r"tests/\S+\.py", block.mark):
            assert (ROOT / test).exists(), block.mark


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


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(without_code(page)):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_code_that_a_page_names_exists(page: Path) -> None:
    for path in re.findall(r"`((?:vmapi|tests|config|bench)/[\w./-]+)`", page.read_text()):
        assert (ROOT / path).exists(), path


def test_log_messages_of_the_page_are_in_the_code() -> None:
    page = (ROOT / "docs/reference/logs.md").read_text().partition("## Messages to watch")[2]
    rows = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `")]
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    code = "".join(path.read_text() for path in (ROOT / "vmapi").rglob("*.py"))
    assert len(messages) > 10
    assert [message for message in messages if f'"{message}"' not in code] == []


@pytest.mark.parametrize(
    "file", [*PAGES, ROOT / "vmapi/api/openapi/examples.py", ROOT / "bench/nova.py"], ids=page_name
)
def test_addresses_of_vms_in_samples_belong_to_no_host(file: Path) -> None:
    addresses = IPV4_ADDRESS.findall(file.read_text())
    local = ("127.", "0.0.0.0")
    remote = [address for address in addresses if not address.startswith(local)]
    assert [address for address in remote if not is_reserved_for_samples(address)] == []


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


@pytest.mark.parametrize("page", HAND_WRITTEN, ids=page_name)
def test_sentences_of_a_page_are_short(page: Path) -> None:
    words = {sentence: len(re.findall(r"[\w'/-]+", sentence)) for sentence in sentences(page)}
    assert {s: count for s, count in words.items() if count > MAX_SENTENCE_WORDS} == {}
