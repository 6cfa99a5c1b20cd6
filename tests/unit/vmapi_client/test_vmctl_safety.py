"""vmctl in the hands of scripts: no wrong server, no wrong VM, no change made twice."""

import os
import socket
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import ROOT, build_environment
from tests.support.vmctl import VMCTL
from vmapi.api.openapi.examples import VM as VM_DOCUMENT
from vmapi_client import VM
from vmapi_client.cli.app import App
from vmapi_client.cli.changes import ChangeKeys
from vmapi_client.cli.commands.actions import ActionOptions, ActionRun
from vmapi_client.cli.exit_codes import describe_error
from vmapi_client.cli.output.formats import OutputFormat
from vmapi_client.cli.selection import Selection
from vmapi_client.configuration import load_configuration, split_url
from vmapi_client.errors import ConfigurationError, NotReachable

SERVER_TIME = datetime(2020, 1, 2, tzinfo=UTC)


class RecordingClient:
    """A client with the clock of a server, which records the filters of its lists."""

    def __init__(self) -> None:
        self.filters: dict[str, Any] = {}
        self.vms = SimpleNamespace(list=self._list)

    def health(self) -> Any:
        return SimpleNamespace(timestamp=SERVER_TIME)

    def _list(self, **filters: Any) -> list[Any]:
        self.filters = filters
        return []


def test_older_vms_are_selected_by_the_clock_of_the_server() -> None:
    client: Any = RecordingClient()
    assert list(Selection(older_than=timedelta(days=1)).find(client)) == []
    assert client.filters["created_before"] == SERVER_TIME - timedelta(days=1)


def test_age_of_zero_is_a_selection() -> None:
    assert Selection(older_than=timedelta(0)).has_filters


@pytest.mark.parametrize("arguments", [{"url": ""}, {"context": ""}])
def test_empty_server_is_no_other_server(arguments: dict[str, Any]) -> None:
    environ = {"VMAPI_URL": "https://other.example.org"}
    with pytest.raises(ConfigurationError, match=r"^the argument (url|context) is empty\.$"):
        load_configuration(**arguments, environ=environ)


def test_error_of_a_url_shows_no_password() -> None:
    with pytest.raises(ConfigurationError, match=r"https://…@example\.org") as error:
        split_url("https://user:hunter2@example.org")
    assert "hunter2" not in str(error.value)


def test_vms_of_the_same_name_are_all_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    vm = replace(VM.from_json(VM_DOCUMENT), name="twin")
    twins = {uuid_text: replace(vm, id=uuid_text) for uuid_text in (str(uuid4()), str(uuid4()))}
    restarted: list[str] = []

    def restart(vm: VM, **_: Any) -> VM:
        restarted.append(vm.id)
        return vm

    client = SimpleNamespace(vms=SimpleNamespace(get=twins.get, restart=restart))
    monkeypatch.setattr(App, "build_client", lambda *_: nullcontext(client))
    options = ActionOptions(False, False, False, None, OutputFormat("name"), "hard")
    assert ActionRun(App(), "restart", options).run(Selection(tuple(twins))) == 0
    assert sorted(restarted) == sorted(twins)


def test_key_of_a_command_repeats_all_its_changes() -> None:
    keys, again = ChangeKeys("k", 2), ChangeKeys("k", 2)
    assert [keys.of(name) for name in "ab"] == [again.of(name) for name in "ab"] == ["k a", "k b"]
    assert ChangeKeys("k", 1).of("a") == "k"
    assert ChangeKeys(None, 1).of("a") is None
    assert ChangeKeys("k", 2).of("web ü") == "k web%20%C3%BC"
    chosen = ChangeKeys(None, 2)
    first, second = str(chosen.of("a")), str(chosen.of("b"))
    assert first.removesuffix(" a") == second.removesuffix(" b") != ""


def test_hint_names_the_key_of_the_command() -> None:
    key = ChangeKeys("job9", 2).of("web-1")
    error = NotReachable(f"lost. Repeat it with idempotency_key={key!r}.", idempotency_key=key)
    assert describe_error(error, "web-1") == "lost. Repeat it with --idempotency-key 'job9'."


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (
            "No trusted TLS. Check the URL https://h from the argument url; "
            "name the file of a private authority in ca_file.",
            "No trusted TLS. Check the URL https://h from --url; "
            "name the file of a private authority with --ca-file.",
        ),
        ("No VM. GET /cloud/api/v1/vms lists all VMs.", "No VM. 'vmctl list' lists all VMs."),
        ("GET /api/v1/flavors lists all.", "'vmctl flavor list' lists all."),
        ("GET /vms: no response.", "GET /vms: no response."),
        ("The token came from the argument token.", "The token came from the input."),
    ],
)
def test_error_has_the_terms_of_the_command_line(message: str, line: str) -> None:
    assert describe_error(NotReachable(message)) == line


def run_vmctl(folder: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = build_environment(VMAPI_CONTEXTS_FILE=str(folder / "contexts.json"))
    environment["PYTHONPATH"] = f"{ROOT}/clients/python"
    command = (sys.executable, "-c", VMCTL, *arguments)
    return subprocess.run(
        command, env=environment, text=True, timeout=WAIT_SECONDS, check=False, **options
    )


def test_reader_that_ends_early_is_success(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    result = run_vmctl(tmp_path, "--help", stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [(), ("context",), ("operation",)])
def test_command_without_arguments_shows_its_help(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    result = run_vmctl(tmp_path, *arguments, capture_output=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert "\nCommands:\n" in result.stderr


@pytest.mark.parametrize("key", ["a\nb", "ü", " "])
def test_key_that_no_header_holds_is_wrong_usage(tmp_path: Path, key: str) -> None:
    result = run_vmctl(tmp_path, "stop", "web-1", "--idempotency-key", key, capture_output=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Accepted: printable ASCII characters." in result.stderr


def test_argument_that_is_not_utf8_is_wrong_usage(tmp_path: Path) -> None:
    result = run_vmctl(tmp_path, "show", "bad\udcff", capture_output=True)
    assert (result.returncode, result.stderr) == (2, "vmctl: 'bad\\udcff' is not UTF-8\n")


def test_output_without_room_is_a_failure(tmp_path: Path) -> None:
    with open("/dev/full", "w") as full:
        result = run_vmctl(tmp_path, "--help", stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 1
    assert result.stderr == "vmctl: the output cannot be written: No space left on device\n"


def test_locale_without_a_character_shows_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    run_vmctl(tmp_path, "context", "add", "é", "http://127.0.0.1:9")
    result = run_vmctl(tmp_path, "context", "list", "-o", "name", capture_output=True)
    assert (result.returncode, result.stdout) == (0, "\\xe9\n")


def test_closed_output_changes_nothing(tmp_path: Path) -> None:
    result = run_vmctl(
        tmp_path, "stop", "web-1", stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1)
    )
    assert (result.returncode, result.stderr) == (
        2,
        "vmctl: stdout is closed: redirect it to /dev/null\n",
    )


def test_lost_reader_of_messages_is_no_success(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open("/dev/full", "w") as full:
        for stderr in (writer, full):
            result = run_vmctl(tmp_path, "delete", "--bogus", stdout=subprocess.PIPE, stderr=stderr)
            assert (result.returncode, result.stdout) == (2, "")
    os.close(writer)


def test_messages_for_a_closed_stderr_are_no_data(tmp_path: Path) -> None:
    for arguments in (("stop", "web-1", "--name", "web-1"), ("stop", "web-1", "-o", "bad\udcff")):
        result = run_vmctl(
            tmp_path, *arguments, stdout=subprocess.PIPE, preexec_fn=lambda: os.close(2)
        )
        assert (result.returncode, result.stdout) == (2, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [("SSL_CERT_FILE", "/nonexistent"), ("HTTPS_PROXY", "foo://proxy")],
)
def test_unusable_environment_is_wrong_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    result = run_vmctl(tmp_path, "list", "--url", "https://127.0.0.1:9", capture_output=True)
    assert (result.returncode, result.stdout) == (2, "")
    assert "of the environment are not usable" in result.stderr


@pytest.mark.parametrize("url", ["http://a..b", f"http://{'a' * 64}.example.org"])
def test_name_that_no_host_has_is_no_url(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"it has the form https://HOST\[:PORT\]\.$"):
        split_url(url)


@pytest.mark.parametrize("words", ["vmctl --url {} show ", "vmctl show --url {} "])
def test_completion_asks_the_server_of_the_command(tmp_path: Path, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(WAIT_SECONDS)
        line = words.format(f"http://127.0.0.1:{listener.getsockname()[1]}")
        completion = {"_VMCTL_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": "4"}
        environment = build_environment(
            **completion, VMAPI_CONTEXTS_FILE=str(tmp_path / "contexts.json")
        )
        environment["PYTHONPATH"] = f"{ROOT}/clients/python"
        command = (sys.executable, "-c", VMCTL)
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            connection, _ = listener.accept()
            connection.close()
            process.communicate(timeout=WAIT_SECONDS)
