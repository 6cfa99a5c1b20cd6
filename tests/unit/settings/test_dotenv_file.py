"""The file `.env`: encodings, and files that cannot be read."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from vmapi.errors import SettingsError
from vmapi.settings.dotenv_file import load_dotenv_file

NAME = "VMAPI_DEFAULT_PROJECT"


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    original = os.environ.pop(NAME, None)
    yield
    os.environ.pop(NAME, None)
    if original is not None:
        os.environ[NAME] = original


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def rejection(path: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        load_dotenv_file(path)
    assert NAME not in os.environ
    return caught.value.detail


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_file_in_utf_8_is_loaded(path: Path, bom: bytes) -> None:
    path.write_bytes(bom + f"{NAME}=web\n# Zürich\n".encode())
    load_dotenv_file(path)
    assert os.environ[NAME] == "web"


def test_missing_file_has_no_variables(path: Path) -> None:
    load_dotenv_file(path)
    assert NAME not in os.environ


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (f"{NAME}=a\n# Z\xfcrich\n".encode("latin-1"), "see line 2"),
        (f"# Z\xfcrich\n{NAME}=a\n".encode("cp1252"), "see line 1"),
        (f"{NAME}=a\n".encode("utf-16"), "it is UTF-16"),
        (f"{NAME}=".encode() + b"\xc3", "see line 1"),
    ],
)
def test_file_in_another_encoding_is_named(path: Path, content: bytes, reason: str) -> None:
    path.write_bytes(content)
    assert rejection(path) == f"{path}: not text in UTF-8 ({reason}); save the file as UTF-8"


def test_file_with_a_nul_is_named(path: Path) -> None:
    path.write_text(f"{NAME}=a\0b\n")
    assert rejection(path) == f"{path}: contains a NUL; save the file as UTF-8"


def test_directory_is_named(path: Path) -> None:
    path.mkdir()
    assert rejection(path) == f"{path}: cannot be read (Is a directory)"


def test_unreadable_file_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text(f"{NAME}=a\n")

    # root may read every file
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert rejection(path) == f"{path}: cannot be read (Permission denied)"
