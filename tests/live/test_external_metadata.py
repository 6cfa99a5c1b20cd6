"""Updates of metadata on a real cloud that keep the pairs of others."""

from typing import Any

import pytest

from tests.support.live.api_script import ApiScript
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.backends.openstack.servers.queries import ServerQueries
from vmapi.domain.vm import VMPatch
from vmapi.settings.settings import Settings

pytestmark = pytest.mark.live

AWKWARD_KEYS = ("a b", "a:b", " a ", "a.json", "...", ".", "..", "Env", "env", "k" * 255)


def metadata_of(owner: Any, vm_id: str) -> dict[str, str]:
    metadata: dict[str, str] = owner.compute.get(f"/servers/{vm_id}/metadata").json()["metadata"]
    return {key: value for key, value in metadata.items() if not key.startswith("vmapi.")}


def set_metadata(owner: Any, vm_id: str, metadata: dict[str, str]) -> None:
    owner.compute.post(f"/servers/{vm_id}/metadata", json={"metadata": metadata})


def test_pairs_that_others_set_during_an_update_stay(
    script: ApiScript, owner: Any, cloud_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    vm_id = script.create_vm(metadata={"a": "1", "b": "2"})
    get_server = ServerQueries.get_server

    def get_server_and_interfere(self: ServerQueries, server_id: str) -> Any:
        server = get_server(self, server_id)
        set_metadata(owner, vm_id, {"outside": "yes", "b": "3"})
        return server

    backend = OpenStackBackend.from_settings(cloud_settings)
    with monkeypatch.context() as patch:
        patch.setattr(ServerQueries, "get_server", get_server_and_interfere)
        backend.update_vm(vm_id, VMPatch(metadata={"a": None, "c": "4"}))
    backend.close()
    assert metadata_of(owner, vm_id) == {"outside": "yes", "b": "3", "c": "4"}


def test_single_pairs_with_awkward_keys_are_removed(script: ApiScript, owner: Any) -> None:
    vm_id = script.create_vm()
    expected = dict.fromkeys((*AWKWARD_KEYS, "retained"), "1")
    set_metadata(owner, vm_id, expected)
    for key in AWKWARD_KEYS:
        del expected[key]
        response = script.call("PATCH", f"/vms/{vm_id}", {"metadata": {key: None}})
        assert (response.status, response.body["metadata"]) == (200, expected)
        assert metadata_of(owner, vm_id) == expected
