"""vmctl on a server: commands, selections, formats, and exit codes."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tests.support.vmctl import Vmctl
from vmapi_client.cli.app import App
from vmapi_client.cli.program import vmctl as program
from vmapi_client.cli.selection import VMName

FLAVOR = ("--flavor", "m1.tiny", "--image", "cirros")


@pytest.fixture
def prefix(vmctl: Vmctl) -> Iterator[str]:
    """A prefix of names; VMs with it are deleted after the test."""
    name = f"cli{uuid.uuid4().hex[:6]}-"
    yield name
    vmctl("delete", "--name", f"{name}*", "--yes", "--wait")


@pytest.fixture
def pair(vmctl: Vmctl, prefix: str) -> tuple[str, str]:
    """Two running VMs."""
    vmctl.succeed("create", f"{prefix}{{1..2}}", *FLAVOR, "--start", "--wait")
    return f"{prefix}1", f"{prefix}2"


def test_vms_live_from_create_to_delete(vmctl: Vmctl, prefix: str) -> None:
    name = f"{prefix}1"
    created = vmctl.succeed("create", name, *FLAVOR, "--start", "--metadata", "env=prod", "--wait")
    assert created.lines[0].split() == ["NAME", "STATUS", "TASK", "IP", "FLAVOR", "IMAGE", "AGE"]
    assert created.lines[1].split()[:3] == [name, "RUNNING", "-"]
    assert created.err == f"{name}: RUNNING\n"
    for action, status in [("pause", "PAUSED"), ("resume", "RUNNING"), ("restart", "RUNNING")]:
        assert status in vmctl.succeed(action, name, "--wait").lines[1]
    vmctl.succeed("update", name, "--metadata", "a=1", "--remove-metadata", "env", "--wait")
    shown = json.loads(vmctl.succeed("show", name, "-o", "json").out)
    assert (shown["status"], shown["metadata"]) == ("RUNNING", {"a": "1"})
    assert "login" in vmctl.succeed("console", name).out
    assert vmctl.succeed("stop", name).lines[1].split()[1:3] == ["RUNNING", "stopping"]
    assert "STOPPED" in vmctl.succeed("wait", name, "--for", "STOPPED").lines[1]
    assert "DELETED" in vmctl.succeed("delete", shown["id"], "--wait").lines[1]
    assert vmctl("show", name).exit_code == 3


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("name", "{name}\n"),
        ("columns=name,status,metadata.env", "{name}\tRUNNING\tprod\n"),
        ("{{{{.name}}}} is {{{{ .status }}}}", "{name} is RUNNING\n"),
    ],
)
def test_formats_for_scripts_have_one_line_a_vm(
    vmctl: Vmctl, prefix: str, output: str, expected: str
) -> None:
    name = f"{prefix}1"
    vmctl.succeed("create", name, *FLAVOR, "--start", "--metadata", "env=prod", "--wait")
    listed = vmctl.succeed("list", "--name", f"{prefix}*", "-o", output.format(name=name))
    assert listed.out == expected.format(name=name)


def test_structured_formats_have_the_members_of_the_api(
    vmctl: Vmctl, pair: tuple[str, str], prefix: str
) -> None:
    import yaml

    listed = {
        kind: vmctl.succeed("list", "--name", f"{prefix}*", "-o", kind).out
        for kind in ("json", "jsonl", "yaml")
    }
    documents = json.loads(listed["json"])
    assert sorted(document["name"] for document in documents) == sorted(pair)
    assert [json.loads(line) for line in listed["jsonl"].splitlines()] == documents
    assert yaml.safe_load(listed["yaml"]) == documents


def test_several_vms_are_changed_by_one_bulk_operation(vmctl: Vmctl, pair: tuple[str, str]) -> None:
    stopped = vmctl.succeed("stop", *pair, "--wait")
    assert [line.split()[1] for line in stopped.lines[1:]] == ["STOPPED", "STOPPED"]
    assert sorted(stopped.err.splitlines()) == [f"{name}: done" for name in pair]
    vmctl.succeed("start", pair[0], "--wait")
    partly = vmctl("start", *pair, "--wait")
    assert partly.exit_code == 8
    assert f"vmctl: {pair[0]}: VM {pair[0]} is RUNNING" in partly.err
    assert "Accepted now: stop, restart, pause, delete." in partly.err
    assert [line.split()[0] for line in partly.lines[1:]] == [pair[1]]
    refused = vmctl("start", *pair)
    assert (refused.exit_code, refused.out) == (4, "")
    assert refused.err.count(", request req-") == 2


def test_filters_select_vms_and_need_an_answer(
    vmctl: Vmctl, pair: tuple[str, str], prefix: str
) -> None:
    chosen = ("--name", f"{prefix}*")
    unanswered = vmctl("delete", *chosen)
    assert unanswered.exit_code == 2
    assert f"  {pair[0]}  RUNNING" in unanswered.err
    assert "Delete 2 VMs? Without a terminal, add --yes." in unanswered.err
    dry = vmctl.succeed("delete", *chosen, "--dry-run", "-o", "name")
    assert sorted(dry.lines) == sorted(pair)
    young = vmctl.succeed("delete", *chosen, "--older-than", "1h", "--yes")
    assert (young.out, young.err) == ("", "vmctl: no VM is selected\n")
    inner = vmctl.succeed("list", "--name", f"*{prefix[1:]}?", "-o", "name")
    assert sorted(inner.lines) == sorted(pair)
    assert vmctl.succeed("list", *chosen, "--status", "PAUSED", "-o", "name").out == ""
    assert len(vmctl.succeed("delete", *chosen, "--yes", "--wait").lines) == 3


def test_selector_selects_vms_by_metadata(vmctl: Vmctl, prefix: str) -> None:
    run, names = f"run={prefix}", f"{prefix}{{1..2}}"
    vmctl.succeed("create", names, *FLAVOR, "--metadata", run, "--wait")
    vmctl.succeed(
        "create", f"{prefix}3", *FLAVOR, "--metadata", run, "--metadata", "keep=", "--wait"
    )
    assert vmctl.succeed("list", "-l", f"{run},keep", "-o", "name").lines == [f"{prefix}3"]
    dry = vmctl.succeed("delete", "--selector", f"{run},!keep", "--dry-run", "-o", "name")
    assert sorted(dry.lines) == [f"{prefix}1", f"{prefix}2"]
    for selector in (f"{run},!keep", f"{run}"):
        count = 2 if "keep" in selector else 1
        deleted = vmctl.succeed("delete", "-l", selector, "--yes", "--wait")
        unit = "VM" if count == 1 else "VMs"
        assert deleted.err.startswith(f"vmctl: delete {count} {unit}:\n  {prefix}")
        assert len(deleted.lines) == 1 + count
    none = vmctl.succeed("delete", "-l", run, "--yes")
    assert (none.out, none.err) == ("", "vmctl: no VM is selected\n")
    shown = vmctl.succeed("event", "watch", "-l", f"{run},keep", "--since", "0", "--count", "2")
    assert [f"{prefix}3" in line for line in shown.lines] == [False, True]
    watched = vmctl.succeed("watch", "-l", run, "--for", "3s")
    assert watched.out == ""


def test_create_with_a_key_can_be_run_again(vmctl: Vmctl, prefix: str) -> None:
    command = ("create", f"{prefix}{{1..2}}", *FLAVOR, "--idempotency-key", prefix, "-o")
    first = vmctl.succeed(*command, "columns=id")
    again = vmctl.succeed(*command, "columns=id")
    assert sorted(first.lines) == sorted(again.lines)
    other = vmctl("create", f"{prefix}1", *FLAVOR)
    assert other.exit_code == 4
    assert "name_taken" in other.err


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (("show", "no-such-vm"), 3, "No VM has the name 'no-such-vm'."),
        (("show", "00000000-0000-4000-8000-000000000000"), 3, "(vm_not_found, request req-"),
        (("stop",), 2, "Name at least one VM"),
        (("stop", "a", "--all"), 2, "not both"),
        (("stop", "a", "-l", "env"), 2, "not both"),
        (("list", "-o", "xml"), 2, "'xml' is no format: use table, wide, json, jsonl, yaml"),
        (("list", "-o", "columns=name,foo"), 2, "'foo' is no member: use id, name, flavor, "),
        (("list", "-o", "{{.name}} {{.foo}}"), 2, "'foo' is no member: use id, name, flavor, "),
        (("create", "web", *FLAVOR, "-o", "columns=foo"), 2, "'foo' is no member: use id, "),
        (("event", "watch", "-o", "columns=name"), 2, "use id, kind, at, vm_id, vm.MEMBER"),
        (("quota", "-o", "columns=vms"), 2, "use resource, used, limit, limited_by."),
        (("list", "--timeout", "0"), 2, "'0' is no timeout: it is above 0 and up to 23h"),
        (("list", "--timeout", "1d"), 2, "'1d' is no timeout: it is above 0 and up to 23h"),
        (("list", "--older-than", "999999999w"), 2, "is too long: a duration has up to 5200w"),
        (("list", "--older-than", "soon"), 2, "'soon' is no duration: use 30s, 5m, 2h"),
        (
            ("create", "web", "--flavor", "none", "--image", "cirros"),
            2,
            "Accepted: m1.tiny, m1.small, m1.medium",
        ),
        (("create", "web", "--flavor", "m1.tiny", "--image", "none"), 2, "Accepted: cirros, "),
        (("create", "web", *FLAVOR, "--network", "none"), 2, "Accepted: private, "),
        (("update", "web"), 2, "Use --rename, --metadata or --remove-metadata."),
        (("operation", "show", "none"), 3, "operation_not_found"),
        (("context", "use", "none"), 2, "No context 'none'"),
        (("bogus",), 2, "No such command 'bogus'"),
    ],
)
def test_errors_are_one_line_with_an_exit_code(
    vmctl: Vmctl, arguments: tuple[str, ...], exit_code: int, message: str
) -> None:
    result = vmctl(*arguments)
    assert (result.exit_code, result.out) == (exit_code, ""), result
    assert result.err.startswith("vmctl: ")
    assert result.err.count("\n") == 1
    assert message in result.err


@pytest.mark.parametrize(
    ("arguments", "message", "mark"),
    [
        (("delete", "-l", "env in", "--yes"), "Character 7: ", "  env in\n        ^\n"),
        (
            ("list", "-l", "env prod"),
            "Character 5: Found `prod`, expected =, ==, !=",
            "  env prod\n      ^\n",
        ),
        (("event", "watch", "-l", "a=1,日b"), "Character 5: A key", "  a=1,日b\n      ^\n"),
        (("list", "-l", 'a="日",('), "Character 7: ", '  a="日",(\n         ^\n'),
    ],
)
def test_invalid_selector_is_marked_on_stderr(
    vmctl: Vmctl, arguments: tuple[str, ...], message: str, mark: str
) -> None:
    result = vmctl(*arguments)
    assert (result.exit_code, result.out) == (2, "")
    line, rest = result.err.split("\n", 1)
    assert message in line
    assert rest == mark


def test_records_of_the_server_are_listed(vmctl: Vmctl, pair: tuple[str, str]) -> None:
    assert vmctl.succeed("flavor", "list", "-o", "name").lines[0] == "m1.tiny"
    assert "cirros" in vmctl.succeed("image", "list").out
    assert "private" in vmctl.succeed("network", "list").out
    assert vmctl.succeed("quota", "-o", "columns=resource").lines == ["vms", "vcpus", "ram_mb"]
    (operation,) = vmctl.succeed(
        "operation", "list", "--vm", pair[0], "--action", "create", "-o", "columns=id"
    ).lines
    waited = vmctl.succeed("operation", "wait", operation, "-o", "{{.status}}")
    assert waited.out == "succeeded\n"
    assert json.loads(vmctl.succeed("operation", "show", operation, "-o", "json").out)["id"]
    audited = vmctl.succeed("audit", "--newer-than", "1h", "--limit", "1", "-o", "{{.action}}")
    assert len(audited.lines) == 1


def test_names_of_vms_are_completed(vmctl: Vmctl, pair: tuple[str, str], prefix: str) -> None:
    context = click.Context(program, obj=App({"url": vmctl.url}))
    parameter = click.Argument(["names"])
    items = VMName().shell_complete(click.Context(program, parent=context), parameter, prefix)
    assert [item.value for item in items] == [*pair]
    context.obj = App({"url": "http://127.0.0.1:9"})
    assert VMName().shell_complete(click.Context(program, parent=context), parameter, "") == []
    script = vmctl.succeed("completion", "bash").out
    assert "_VMCTL_COMPLETE=bash_complete" in script


def test_events_are_lines(vmctl: Vmctl, pair: tuple[str, str]) -> None:
    options = ("--since", "0", "--vm", pair[0], "--kind", "vm.created", "--count", "2")
    reset, created = vmctl.succeed("event", "watch", *options).lines
    assert "events.reset" in reset
    assert f"{pair[0]} BUILDING creating" in created
    document = json.loads(vmctl.succeed("event", "watch", *options, "-o", "jsonl").lines[1])
    assert document["vm"]["name"] == pair[0]
    watched = vmctl.succeed("watch", *pair, "--for", "3s")
    assert sorted(line.split()[0] for line in watched.lines) == [*pair]


@pytest.mark.parametrize("command", [("event", "watch"), ("watch", "-l", "none=1")])
def test_timeout_ends_a_stream_with_its_exit_code(vmctl: Vmctl, command: tuple[str, ...]) -> None:
    late = vmctl(*command, "--timeout", "3s")
    assert (late.exit_code, late.err) == (7, "vmctl: The stream has not ended within 3 s.\n")
    assert vmctl(*command, "--timeout", "60s", "--for", "3s").exit_code == 0


def test_contexts_and_login_lead_to_a_server(vmctl: Vmctl, tmp_path: Path) -> None:
    url, vmctl.url = vmctl.url, None
    assert url is not None
    assert vmctl("list").exit_code == 2
    assert vmctl.succeed("context", "add", "dev", url).err == "context dev added, current\n"
    vmctl.succeed("context", "add", "prod", "https://vmapi.example.org")
    assert vmctl.succeed("login", stdin="secret-token\n").out == ""
    assert (tmp_path / "contexts.json").stat().st_mode & 0o777 == 0o600
    assert "secret-token" not in vmctl.succeed("context", "list", "-o", "json").out
    listed = vmctl.succeed("context", "list", "-o", "columns=current,name,token")
    assert listed.lines == ["*\tdev\tstored", "\tprod\t"]
    checked = vmctl.succeed("doctor")
    assert [line.split()[:2] for line in checked.lines] == [
        ["ok", title] for title in ("url", "connection", "server", "clock", "token")
    ]
    assert vmctl.succeed("context", "use", "prod").exit_code == 0
    assert vmctl.succeed("list", "--context", "dev").exit_code == 0
    assert vmctl.succeed("context", "remove", "prod").exit_code == 0
    assert vmctl("login", stdin="\n").exit_code == 2


def test_server_that_is_not_there_is_exit_code_6(vmctl: Vmctl) -> None:
    vmctl.url = "http://127.0.0.1:9"
    result = vmctl("list", "--timeout", "2s")
    assert result.exit_code == 6
    assert "Check the URL http://127.0.0.1:9 from VMAPI_URL" in result.err
    doctor = vmctl("doctor")
    assert doctor.exit_code == 6
    assert doctor.lines[1].startswith("FAILED  connection   127.0.0.1 port 9: Connection refused")
