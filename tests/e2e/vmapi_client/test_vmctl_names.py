"""VMs of vmctl by a name that has the form of an id."""

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
