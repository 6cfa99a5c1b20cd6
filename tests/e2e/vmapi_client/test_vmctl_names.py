"""VMs that commands of vmctl name: names in the form of an id, and several at once."""

import uuid

from tests.support.vmctl import Vmctl

OPTIONS = ("--flavor", "m1.tiny", "--image", "cirros", "-o", "name")


def test_name_may_have_the_form_of_an_id(vmctl: Vmctl) -> None:
    name = str(uuid.uuid4())
    names = [name, name.replace("-", "")]
    vmctl.succeed("create", *names, *OPTIONS)
    assert vmctl.succeed("show", *names, "-o", "name").lines == names
    vm_id = vmctl.succeed("show", name, "-o", "{{.id}}").lines[0]
    assert vmctl.succeed("list", vm_id.upper(), "-o", "name").lines == [name]
    vmctl.succeed("delete", *names, "--wait")
    for gone in (vm_id, vm_id.upper()):
        listed = vmctl.succeed("operation", "list", "--vm", gone, "-o", "columns=action")
        assert listed.lines == ["delete", "create"]
        audited = vmctl.succeed("audit", "--vm", gone, "-o", "columns=action,outcome")
        assert audited.lines[:2] == ["delete\tsucceeded", "delete\taccepted"]


def test_audit_trail_of_a_vm_is_found_by_its_name(vmctl: Vmctl) -> None:
    name = f"audited-{uuid.uuid4().hex[:6]}"
    vmctl.succeed("create", name, *OPTIONS, "--wait")
    audited = vmctl.succeed("audit", "--vm", name, "-o", "columns=action,outcome")
    assert "create\tsucceeded" in audited.lines
    vmctl.succeed("delete", name, "--wait")
    assert vmctl("audit", "--vm", name).exit_code == 3


def test_several_vms_are_updated_once_and_awaited(vmctl: Vmctl) -> None:
    prefix = f"several-{uuid.uuid4().hex[:6]}-"
    pair = [f"{prefix}1", f"{prefix}2"]
    vmctl.succeed("create", *pair, *OPTIONS, "--start", "--wait")
    change = ("--metadata", f"run={prefix}", "--idempotency-key", prefix, "-o", "name")
    for _ in range(2):
        assert vmctl.succeed("update", *pair, *change, "--wait").lines == pair
    partly = vmctl("update", pair[0], f"{prefix}none", "--metadata", "a=1", "-o", "name")
    assert (partly.exit_code, partly.lines) == (8, [pair[0]])
    keys = ("--idempotency-key", f"{prefix} {pair[1]}")
    assert vmctl.succeed("operation", "list", *keys, "-o", "{{.action}}").lines == ["update"]
    renamed = vmctl("update", *pair, "--rename", "other")
    assert (renamed.exit_code, "Rename one VM at a time." in renamed.err) == (2, True)
    selected = ("--selector", f"run={prefix}", "--for", "STOPPED", "-o", "name")
    vmctl.succeed("stop", *pair)
    assert sorted(vmctl.succeed("wait", *selected).lines) == pair
    assert "Name at least one VM, or select" in vmctl("wait", "--for", "STOPPED").err
    assert (
        vmctl("wait", "-l", f"run={prefix}none", "--for", "STOPPED").err
        == "vmctl: no VM is selected\n"
    )
    vmctl.succeed("delete", *pair, "--wait")
