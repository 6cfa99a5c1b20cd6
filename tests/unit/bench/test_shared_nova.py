"""The simulated OpenStack of the trial: vmapi finds its changes after a lost response."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from bench.standin import fake_openstack
from tests.support.fake_openstack import openstack_settings
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import CreateSpec
from vmapi.errors import VMNotFound

START = datetime(2000, 1, 1, tzinfo=UTC)
MISSING_ID = "11111111-2222-4333-8444-555555555555"


@pytest.fixture(scope="module")
def backend() -> Iterator[OpenStackBackend]:
    with fake_openstack("--shared") as url, pytest.MonkeyPatch.context() as patch:
        backend = OpenStackBackend.from_settings(openstack_settings(url, patch))
        yield backend
        backend.close()


def create(backend: OpenStackBackend, name: str) -> tuple[str, str]:
    """Create a server; return its id, and the id of its operation."""
    flavor, image = backend.list_flavors()[0], backend.list_images()[0]
    spec = CreateSpec(name, flavor.id, image.id, None, {}, None, None, ())
    return backend.create_vm(spec, f"op-{name}").vm_id, f"op-{name}"


def test_an_action_is_found_by_its_record(backend: OpenStackBackend) -> None:
    vm_id, _ = create(backend, "acted")
    assert backend.find_action(vm_id, Verb.STOP, START) is None
    accepted = backend.perform_action(vm_id, Verb.STOP)
    assert backend.find_action(vm_id, Verb.STOP, START) == accepted


def test_a_server_is_found_by_the_tag_of_its_operation(backend: OpenStackBackend) -> None:
    create(backend, "first")
    vm_id, operation_id = create(backend, "second")
    found = backend.find_created_vm(operation_id)
    assert found is not None
    assert found.vm_id == vm_id
    assert backend.find_created_vm("never-sent") is None


def test_a_missing_server_is_not_found(backend: OpenStackBackend) -> None:
    with pytest.raises(VMNotFound):
        backend.perform_action(MISSING_ID, Verb.DELETE)
