"""Secrets from files: read unchanged, never shown in messages."""

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path

import pytest

from vmapi.errors import SettingsError
from vmapi.settings.secret_files import MAX_SECRET_BYTES
from vmapi.settings.settings import DECLARATIONS, Settings

SECRET = "hunter2"
VALID_URLS = {
    "VMAPI_BROKER_URL": f"amqp://u:{SECRET}@h:5672//",
    "VMAPI_RATE_STORAGE": f"redis://:{SECRET}@h:6379/0",
    "VMAPI_DATABASE_URL": f"postgresql+psycopg://u:{SECRET}@h/n",
}
SECRETS = {item.name: field for field, item in DECLARATIONS.items() if item.is_secret}


@pytest.fixture(autouse=True)
def environment() -> Iterator[MutableMapping[str, str]]:
    original = dict(os.environ)
    for name in original:
        if name in SECRETS or name.startswith("VMAPI_"):
            del os.environ[name]
    yield os.environ
    os.environ.clear()
    os.environ.update(original)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "secret"


def load() -> Settings:
    return Settings.load(Path("/nonexistent/.env"))


def load_error() -> str:
    with pytest.raises(SettingsError) as caught:
        load()
    assert SECRET not in caught.value.detail
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return caught.value.detail


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
@pytest.mark.parametrize("name", SECRETS)
def test_every_secret_is_read_from_its_file(
    environment: MutableMapping[str, str], file: Path, name: str, end: str
) -> None:
    value = VALID_URLS.get(name, f" {SECRET}é $x {{{{PATH}}}} " + "k" * 32)
    file.write_bytes(f"{value}{end}".encode())
    environment[f"{name}_FILE"] = str(file)
    assert getattr(load(), SECRETS[name]) == value
    assert name not in environment


def test_file_may_be_named_in_dotenv(file: Path, tmp_path: Path) -> None:
    file.write_text(SECRET)
    (tmp_path / ".env").write_text(f"OPENSTACK_PASSWORD_FILE={file}\n")
    assert Settings.load(tmp_path / ".env").openstack_password == SECRET


def test_empty_file_name_counts_as_unset(environment: MutableMapping[str, str]) -> None:
    environment |= {"OPENSTACK_PASSWORD_FILE": "", "OPENSTACK_PASSWORD": SECRET}
    assert load().openstack_password == SECRET


@pytest.mark.parametrize("name", SECRETS)
def test_value_and_file_together_are_refused(
    environment: MutableMapping[str, str], file: Path, name: str
) -> None:
    file.write_text(SECRET)
    environment |= {name: SECRET, f"{name}_FILE": str(file)}
    assert load_error() == f"{name} and {name}_FILE are both set: keep one of them"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty; write the value into it"),
        (b"\r\n\n", "the file is empty; write the value into it"),
        (
            SECRET.encode() * (MAX_SECRET_BYTES // 7 + 1),
            "is longer than 65536 bytes; name the file of the secret",
        ),
        (b"hunter2\xff", "is not text in UTF-8; write the value into it as text"),
        (b"hunter2\0", "is not text in UTF-8; write the value into it as text"),
        (b"hunter2", "allowed is a text of 32 characters or more"),
    ],
    ids=["empty", "line ends", "huge", "latin", "nul", "bad"],
)
def test_unusable_file_is_reported_without_its_content(
    environment: MutableMapping[str, str], file: Path, content: bytes, problem: str
) -> None:
    file.write_bytes(content)
    environment["VMAPI_AUDIT_KEY_FILE"] = str(file)
    assert load_error() == f"VMAPI_AUDIT_KEY_FILE '{file}': {problem}"


def test_missing_file_is_reported(environment: MutableMapping[str, str], file: Path) -> None:
    environment["OPENSTACK_PASSWORD_FILE"] = str(file)
    assert load_error() == (
        f"OPENSTACK_PASSWORD_FILE '{file}': cannot be read (No such file or directory); "
        "name a file that vmapi's user may read"
    )


def test_directory_is_refused(environment: MutableMapping[str, str], tmp_path: Path) -> None:
    environment["OPENSTACK_PASSWORD_FILE"] = str(tmp_path)
    assert "cannot be read (Is a directory); name a file" in load_error()


def test_unreadable_file_is_reported(
    environment: MutableMapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    environment["OPENSTACK_PASSWORD_FILE"] = "/run/secrets/password"
    with pytest.raises(SettingsError) as caught:
        Settings.from_environ(environment)
    detail = caught.value.detail
    assert "/run/secrets/password': cannot be read (Permission denied); name" in detail


def test_endless_file_is_read_up_to_the_limit(environment: MutableMapping[str, str]) -> None:
    environment["OPENSTACK_PASSWORD_FILE"] = "/dev/zero"
    assert "is longer than 65536 bytes" in load_error()


def test_secret_in_place_of_a_path_is_not_shown(
    environment: MutableMapping[str, str],
) -> None:
    environment["OPENSTACK_PASSWORD_FILE"] = SECRET
    assert load_error() == "OPENSTACK_PASSWORD_FILE: allowed is the absolute path of a file"


def test_each_problem_is_reported_once(environment: MutableMapping[str, str]) -> None:
    environment |= {"VMAPI_AUDIT_KEY_FILE": "x", "OPENSTACK_PASSWORD_FILE": "y"}
    environment["VMAPI_THREADS"] = "0"
    message = load_error()
    for name in ("VMAPI_THREADS", "VMAPI_AUDIT_KEY_FILE", "OPENSTACK_PASSWORD_FILE"):
        assert message.count(name) == 1


def test_setting_that_is_not_secret_has_no_file(environment: MutableMapping[str, str]) -> None:
    environment["VMAPI_THREADS_FILE"] = "/etc/threads"
    assert load_error().startswith("VMAPI_THREADS_FILE: no such setting; ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VMAPI_DATABASE_URL", "postgresql+psycopg://u:p@h:hunter2@127.0.0.1:1/n"),
        ("VMAPI_DATABASE_URL", "postgresql+psycopg://u:p@hunter2/x@127.0.0.1/n"),
        ("VMAPI_DATABASE_URL", "postgresql+psycopg://u:p@ss:w@h/n"),
        ("VMAPI_DATABASE_URL", "postgresql+psycopg://u:p@h:hunter2/n"),
        ("VMAPI_BROKER_URL", "amqp://u:hunter2/x@h//"),
        ("VMAPI_BROKER_URL", "amqp://u:hunter2#x@h//"),
        ("VMAPI_BROKER_URL", "amqp://u:hunter2?x@h//"),
        ("VMAPI_BROKER_URL", "amqp://u:hunter2[@h//"),
    ],
)
def test_ambiguous_url_is_refused_without_its_password(
    environment: MutableMapping[str, str], name: str, value: str
) -> None:
    """A library that splits it elsewhere would show a piece of the password."""
    environment[name] = value
    assert load_error() == f"{name}: allowed is {DECLARATIONS[SECRETS[name]].format.allowed}"
