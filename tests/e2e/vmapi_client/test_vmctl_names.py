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


def test_missing_vm_is_named_with_similar_names(vmctl: Vmctl) -> None:
    missing = str(uuid.uuid4())
    result = vmctl("show", missing)
    assert (result.exit_code, result.out) == (3, "")
    assert f"No VM has the name {missing!r}." in result.err
