"""The calls of the OpenStack driver, each with the request that the fake OpenStack receives."""

from collections.abc import Callable
from datetime import UTC, datetime

from tests.support.fake_openstack import DETAIL_PATH, NOVA_PATH, SERVER_ID, SERVER_PATH, SPEC
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VMPatch

METADATA = VMPatch(None, {"a": "1"})

CALLS: dict[str, tuple[str, str, Callable[[OpenStackBackend], object]]] = {
    "get": ("GET", SERVER_PATH, lambda backend: backend.get_vm(SERVER_ID)),
    "list": ("GET", DETAIL_PATH, lambda backend: backend.list_vms()),
    "changed": (
        "GET",
        DETAIL_PATH,
        lambda backend: backend.list_changed_since(datetime(2026, 1, 1, tzinfo=UTC)),
    ),
    "create": ("POST", f"{NOVA_PATH}/servers", lambda backend: backend.create_vm(SPEC, "op")),
    "stop": (
        "POST",
        f"{SERVER_PATH}/action",
        lambda backend: backend.perform_action(SERVER_ID, Verb.STOP),
    ),
    "delete": (
        "DELETE",
        SERVER_PATH,
        lambda backend: backend.perform_action(SERVER_ID, Verb.DELETE),
    ),
    "update": (
        "PUT",
        SERVER_PATH,
        lambda backend: backend.update_vm(SERVER_ID, VMPatch("web-2")),
    ),
    "metadata": (
        "POST",
        f"{SERVER_PATH}/metadata",
        lambda backend: backend.update_vm(SERVER_ID, METADATA),
    ),
    "removal": (
        "DELETE",
        f"{SERVER_PATH}/metadata/b",
        lambda backend: backend.update_vm(SERVER_ID, VMPatch(None, {"b": None})),
    ),
}
CHANGES = ("create", "stop", "delete", "update", "metadata", "removal")
"""The calls that change something. The removal needs a server with the metadata key `b`."""
