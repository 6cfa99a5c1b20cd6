"""The vendored files of Swagger UI and GraphiQL: unchanged and complete."""

import hashlib
import re

import pytest

from vmapi.api.views.docs import DOCS_ASSETS
from vmapi.api.views.graphiql import GRAPHIQL_ASSETS
from vmapi.api.views.page_files import STATIC_FOLDER

ASSETS = {"swagger-ui": DOCS_ASSETS, "graphiql": GRAPHIQL_ASSETS}
PAGES = {"swagger-ui": "docs.html", "graphiql": "graphiql.html"}
OURS = {"README.md", "SHA256SUMS", "NOTICE", "init.js", "page.css"}


@pytest.mark.parametrize("folder", ASSETS)
def test_files_match_published_checksums(folder: str) -> None:
    vendored = STATIC_FOLDER / folder
    sums = (vendored / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in sums)}
    paths = {path.name: path for path in vendored.iterdir()}
    assert set(listed) == {name for name in paths if not name.startswith("LICENSE")} - OURS
    for name, digest in listed.items():
        assert hashlib.sha256(paths[name].read_bytes()).hexdigest() == digest, name


@pytest.mark.parametrize("folder", ASSETS)
def test_every_asset_exists(folder: str) -> None:
    assert all((STATIC_FOLDER / folder / name).is_file() for name in ASSETS[folder])


@pytest.mark.parametrize("folder", PAGES)
def test_page_refers_to_no_other_server(folder: str) -> None:
    vendored = STATIC_FOLDER / folder
    for path in (STATIC_FOLDER / PAGES[folder], vendored / "init.js", vendored / "page.css"):
        assert re.search(r"[\w:]//|[\"'(]//", path.read_text()) is None
