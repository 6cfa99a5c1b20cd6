"""The vendored Swagger UI files: unchanged and complete."""

import hashlib
import re

from vmapi.api.views.docs import DOCS_ASSETS, STATIC_FOLDER

VENDORED = STATIC_FOLDER / "swagger-ui"
OURS = {"README.md", "SHA256SUMS", "LICENSE", "NOTICE", "init.js", "page.css"}


def test_files_match_published_checksums() -> None:
    sums = (VENDORED / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in sums)}
    found = {path.name: path for path in VENDORED.iterdir()}
    assert set(listed) == set(found) - OURS
    for name, digest in listed.items():
        assert hashlib.sha256(found[name].read_bytes()).hexdigest() == digest, name


def test_every_asset_exists() -> None:
    assert all((VENDORED / name).is_file() for name in DOCS_ASSETS)


def test_page_refers_to_no_other_server() -> None:
    for path in (STATIC_FOLDER / "docs.html", VENDORED / "init.js", VENDORED / "page.css"):
        assert re.search(r"[\w:]//|[\"'(]//", path.read_text()) is None
