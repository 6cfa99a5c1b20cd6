"""The contexts file of the Python client: damaged, hostile, and used by several processes."""

import json
import os
import threading
from pathlib import Path

import pytest

from tests.support.certificates import create_certificate
from vmapi_client import Client, text_files
from vmapi_client.configuration import load_configuration
from vmapi_client.contexts import Context, ContextStore, make_absolute
from vmapi_client.errors import ConfigurationError
from vmapi_client.text_files import read_text_file

URL = "https://prod.example.org"
DAMAGED = {
    "[]": "the document is a list. Expected: an object with contexts",
    "3": "the document is a number",
    "null": "the document is null",
    "true": "the document is a boolean",
    "": "it is no JSON at line 1, column 1",
    "1" * 5000: "the document is a number",
    "[" * 100_000: "it is nested too deeply",
    "{}": "contexts is null. Expected: an object with a context by name",
    '{"contexts": []}': "contexts is a list",
    '{"contexts": {"a": []}}': "the context a is a list. Expected: an object with a url",
    '{"contexts": {"a": {}}}': "url of the context a is null. Expected: a text",
    '{"contexts": {"a": {"url": ["x"]}}}': "url of the context a is a list",
    '{"contexts": {"a": {"url": "x", "token": 7}}}': "token of the context a is a number",
    '{"contexts": {"a": {"url": "x", "token_file": {}}}}': "token_file of the context a is an",
    '{"contexts": {"a": {"url": "x", "ca_file": false}}}': "ca_file of the context a is a bool",
    '{"contexts": {}, "current": []}': "current is a list. Expected: the name of a context",
    '{"contexts": {"a b": {"url": "x"}}}': "the name 'a b' of a context. Expected: a name",
    '{"contexts": {"\\ud800": {"url": "x"}}}': "the name '\\ud800' of a context",
}


@pytest.fixture
def store(tmp_path: Path) -> ContextStore:
    return ContextStore(tmp_path / "contexts.json")


@pytest.mark.parametrize("text", DAMAGED, ids=lambda text: text[:40])
def test_damaged_file_is_refused_with_the_place_and_the_accepted_type(
    store: ContextStore, text: str
) -> None:
    store.path.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        store.load()
    message = str(caught.value)
    assert message.startswith(f"The contexts file {store.path} is malformed: {DAMAGED[text]}")
    assert "Expected: " in message


def test_file_that_cannot_be_read_is_refused(
    store: ContextStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "SILENT_PIPE_SECONDS", 0.05)
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "latin").write_bytes(b"\xff")
    (tmp_path / "large").write_text(" " * 2_000_000)
    os.mkfifo(tmp_path / "pipe")
    reasons = {
        tmp_path / "folder": "Is a directory",
        tmp_path / "latin" / "contexts.json": "Not a directory",
        tmp_path / "loop": "Too many levels of symbolic links",
        tmp_path / "latin": "it is not UTF-8",
        tmp_path / "large": "it has more than 1048576 bytes",
        tmp_path / "pipe": "it sends nothing for 0.05 s",
        Path("/dev/zero"): "it has more than 1048576 bytes",
    }
    for path, reason in reasons.items():
        with pytest.raises(ConfigurationError) as caught:
            ContextStore(path).load()
        assert str(caught.value) == (
            f"The contexts file {path} cannot be read: {reason}. "
            "Expected: JSON, as 'vmctl context add NAME URL' writes it."
        )


def test_pipe_is_read_until_its_end() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"\xef\xbb\xbftext")
    os.close(writer)
    assert read_text_file(f"/dev/fd/{reader}", 10)[0] == "text"
    os.close(reader)


@pytest.mark.parametrize("option", ["token_file", "ca_file"])
def test_silent_pipe_ends_a_call(
    option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "SILENT_PIPE_SECONDS", 0.05)
    os.mkfifo(tmp_path / "pipe")
    files = {option: tmp_path / "pipe"}
    with pytest.raises(ConfigurationError, match="it sends nothing for"):
        Client("https://127.0.0.1:9", timeout=1, **files).health()


def test_certificates_come_from_a_file_or_a_pipe(tmp_path: Path) -> None:
    authority, _ = create_certificate(tmp_path)
    Client(URL, ca_file=authority).close()
    reader, writer = os.pipe()
    os.write(writer, authority.read_bytes())
    os.close(writer)
    Client(URL, ca_file=f"/dev/fd/{reader}").close()
    os.close(reader)
    for text in ("", "no certificate", "é"):
        (tmp_path / "none").write_text(text)
        with pytest.raises(ConfigurationError, match=r"ca_file .*/none has no certificates: "):
            Client(URL, ca_file=tmp_path / "none")
    with pytest.raises(ConfigurationError, match=r"/missing has no certificates: No such file"):
        Client(URL, ca_file=tmp_path / "missing")


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a\x1b[31m", "a\u2028b", "-a", "\t"])
def test_name_that_no_line_can_show_is_refused(store: ContextStore, name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is no name of a context\. Expected: a name of "):
        store.save(Context(name, URL))
    assert not store.path.exists()


def test_file_is_not_read_where_it_is_not_used(store: ContextStore) -> None:
    store.save(Context("prod", URL, token="secret", ca_file="/ca.pem"))
    store.path.chmod(0o644)
    environ = {"VMAPI_CONTEXTS_FILE": str(store.path)}
    other = load_configuration("https://other.example.org", environ=environ)
    assert (other.read_token(), other.ca_file) == (None, None)
    environ["VMAPI_URL"] = "https://other.example.org"
    load_configuration(environ=environ)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_configuration(context="prod", environ=environ)


def test_certificates_of_a_context_are_for_its_url_only(store: ContextStore) -> None:
    store.save(Context("prod", URL, ca_file="/ca.pem"))
    environ = {"VMAPI_CONTEXTS_FILE": str(store.path)}
    assert load_configuration(environ=environ).ca_file == "/ca.pem"
    other = load_configuration("https://other.example.org", environ=environ)
    assert other.ca_file is None


@pytest.mark.parametrize(
    "arguments", [{"context": "prod"}, {"token": "secret", "token_file": "/token"}]
)
def test_two_sources_for_one_thing_are_refused(arguments: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="give one of them"):
        load_configuration(URL, environ={}, **arguments)


@pytest.mark.parametrize("name", ["token", "token_file", "ca_file"])
def test_empty_argument_is_no_other_token(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^the argument {name} is empty"):
        load_configuration(URL, environ={"VMAPI_TOKEN": "secret"}, **{name: ""})


def test_current_context_that_is_missing_is_an_error(store: ContextStore) -> None:
    store.path.write_text(json.dumps({"current": "none", "contexts": {"prod": {"url": URL}}}))
    with pytest.raises(
        ConfigurationError, match=r"The current context 'none' is not in .*: prod: "
    ):
        store.find()
    store.save(Context("test", URL))
    assert store.load()[0] == "test"


def test_contexts_that_are_added_at_the_same_time_are_all_there(store: ContextStore) -> None:
    names = [f"prod-{number}" for number in range(24)]
    start = threading.Barrier(len(names))

    def add(name: str) -> None:
        start.wait(10)
        store.save(Context(name, URL))

    threads = [threading.Thread(target=add, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(store.load()[1]) == set(names)


def test_symbolic_link_stays_one(tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to("contexts.json")
    ContextStore(link).save(Context("prod", URL))
    assert link.is_symlink()
    assert set(ContextStore(tmp_path / "contexts.json").load()[1]) == {"prod"}


def test_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = ContextStore(tmp_path / "file" / "vmapi" / "contexts.json")
    with pytest.raises(ConfigurationError, match=r"contexts\.json cannot be \w+: Not a directory"):
        store.save(Context("prod", URL))


def test_paths_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert make_absolute("token") == str(tmp_path / "token")
    assert make_absolute(None) is None
