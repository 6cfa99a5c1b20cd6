"""Calls of the Python client: requests, pages, entity tags, and waits."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import islice

import pytest

from tests.support.client_plans import (
    VM_DOCUMENT,
    PlanRunner,
    respond,
    respond_with_problem,
    respond_with_vm,
)
from vmapi.api.openapi.examples import RUNNING_OPERATION
from vmapi_client import Client
from vmapi_client.core.calls.session import ChangeOptions, as_list, build_query
from vmapi_client.core.calls.vms import VMCalls, bulk_body
from vmapi_client.core.calls.waits import WaitCalls
from vmapi_client.core.exchange import Request, Response, parse_retry_after
from vmapi_client.errors import (
    BuildFailed,
    DeadlineExceeded,
    NoCapacity,
    NotVmapi,
    PreconditionFailed,
    VMFailed,
    VmNotFound,
)
from vmapi_client.models import VM
from vmapi_client.sync.pages import iterate_pages

FAULT = {"code": "no_capacity", "message": "No valid host.", "hint": "Choose a smaller flavor."}
UNCHANGED = Response(304, {"etag": '"1"'})


@pytest.fixture
def calls(runner: PlanRunner) -> VMCalls:
    return VMCalls(runner.session)


@pytest.fixture
def waits(runner: PlanRunner, calls: VMCalls) -> WaitCalls:
    return WaitCalls(runner.session, calls)


def respond_with_state(status: str, task: str | None = None, tag: str = '"1"') -> Response:
    document = {"vm_id": VM_DOCUMENT["id"], "status": status, "task": task}
    return respond(200, {**document, "updated_at": "2026-02-25T10:35:00Z"}, etag=tag)


def test_second_read_sends_the_tag_and_returns_the_cached_vm(
    runner: PlanRunner, calls: VMCalls
) -> None:
    vm = runner.run(calls.get(VM_DOCUMENT["id"]), respond_with_vm(headers={"etag": '"1"'}))
    assert runner.run(calls.get(vm), UNCHANGED) == vm
    assert runner.sent_headers("If-None-Match") == [None, '"1"']


def test_cached_vm_stays_as_vmapi_sent_it(runner: PlanRunner, calls: VMCalls) -> None:
    headers = {"etag": '"1"', "operation-location": "/api/v1/operations/op-1"}
    started = runner.run(
        calls.act(VM_DOCUMENT["id"], "start", ChangeOptions()), respond_with_vm(headers=headers)
    )
    assert started.operation_id == "op-1"
    metadata = dict(started.metadata)
    started.metadata["changed"] = "by the caller"  # type: ignore[index]
    for _ in range(2):
        read = runner.run(calls.get(started), UNCHANGED)
        assert (read.metadata, read.etag, read.operation_id) == (metadata, '"1"', None)
        read.metadata.clear()  # type: ignore[attr-defined]


def test_conditional_update_sends_the_tag_of_the_vm(runner: PlanRunner, calls: VMCalls) -> None:
    vm = VM.from_json(VM_DOCUMENT, etag='"1"')
    plan = calls.update(
        vm, {"name": None, "metadata": {"a": None}}, ChangeOptions(), if_unchanged=True
    )
    runner.run(plan, respond_with_vm())
    assert runner.sent_headers("If-Match") == ['"1"']
    assert runner.attempts[0].request.body == {"metadata": {"a": None}}


def test_conditional_update_of_a_listed_vm_compares_it_first(
    runner: PlanRunner, calls: VMCalls
) -> None:
    listed = VM.from_json(VM_DOCUMENT)
    same = respond_with_vm(headers={"etag": '"7"'})
    plan = calls.update(listed, {"name": "web-2"}, ChangeOptions(), if_unchanged=True)
    runner.run(plan, same, respond_with_vm(name="web-2"))
    assert runner.sent_headers("If-Match") == [None, '"7"']
    other = respond_with_vm(headers={"etag": '"8"'}, locked=True)
    plan = calls.update(listed, {"name": "web-2"}, ChangeOptions(), if_unchanged=True)
    with pytest.raises(PreconditionFailed) as caught:
        runner.run(plan, other)
    assert caught.value.etag == '"8"'


def test_conditional_update_needs_a_vm(runner: PlanRunner, calls: VMCalls) -> None:
    plan = calls.update("id", {"name": "web-2"}, ChangeOptions(), if_unchanged=True)
    with pytest.raises(ValueError, match="needs the VM as it was read"):
        runner.run(plan, UNCHANGED)


def test_create_with_a_failed_build_raises_the_error_of_the_fault(
    runner: PlanRunner, calls: VMCalls
) -> None:
    for fault, error in ((FAULT, NoCapacity), (None, BuildFailed)):
        reply = respond_with_vm(201, {"x-request-id": "req-1"}, status="ERROR", fault=fault)
        with pytest.raises(error, match=r"web-1 \(c15d.* exists in ERROR: delete it") as caught:
            runner.run(calls.create("web-1", {}, ChangeOptions()), reply)
        assert caught.value.vm is not None
        assert (caught.value.vm_id, caught.value.request_id) == (VM_DOCUMENT["id"], "req-1")


def test_pages_are_read_with_the_query_of_next(runner: PlanRunner, calls: VMCalls) -> None:
    request = calls.list_request(
        name="web-*",
        status=("RUNNING", "PAUSED"),
        created_after=datetime(2026, 1, 2, tzinfo=UTC),
        page_size=None,
    )
    page = {"items": [VM_DOCUMENT], "next": "/prefix/api/v1/vms?cursor=a%2Bb"}
    items, following = runner.run(runner.session.read_page(VM, request), respond(200, page))
    assert [vm.name for vm in items] == ["web-1"]
    assert runner.attempts[0].request.query == (
        ("name", "web-*"),
        ("status", "RUNNING"),
        ("status", "PAUSED"),
        ("created_after", "2026-01-02T00:00:00Z"),
    )
    assert following is not None
    assert (following.path, following.query) == ("/vms", (("cursor", "a+b"),))
    last = respond(200, {"items": [], "next": None})
    assert runner.run(runner.session.read_page(VM, following), last) == ([], None)


def test_list_of_a_proxy_that_ignores_the_query_ends(runner: PlanRunner) -> None:
    page = respond(200, {"items": [VM_DOCUMENT], "next": "/api/v1/vms?cursor=a"})
    read = partial(iterate_pages, runner.session, lambda plan: runner.run(plan, page), VM)
    with pytest.raises(NotVmapi, match="next names the page itself"):
        list(islice(read(Request("GET", "/vms"), None), 5))
    assert len(runner.attempts) == 2


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda client: list(client.vms.list(status=[])), "status"),
        (lambda client: list(client.events(kinds=(), seconds=1)), "kind"),
        (lambda client: list(client.events(vm_ids=iter(()), seconds=1)), "vm_id"),
    ],
)
def test_empty_filter_does_not_select_all(read: Callable[[Client], object], name: str) -> None:
    with (
        Client("http://127.0.0.1:9", timeout=1) as client,
        pytest.raises(ValueError, match=f"^{name} is empty: use None for all$"),
    ):
        read(client)


def test_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        build_query(created_after=datetime(2026, 1, 2))


def test_bulk_action_needs_ids_or_a_filter(runner: PlanRunner, calls: VMCalls) -> None:
    for ids, filters in ((None, None), (["id"], {"name": "*"})):
        with pytest.raises(ValueError, match="either ids or a filter"):
            runner.run(calls.bulk("stop", ids, filters, ChangeOptions()), UNCHANGED)
    with pytest.raises(ValueError, match="'' is no id of a VM"):
        runner.run(calls.delete("", ChangeOptions()), UNCHANGED)


def test_wait_polls_the_state_until_the_task_has_ended(
    runner: PlanRunner, waits: WaitCalls
) -> None:
    states = [
        respond_with_state("RUNNING", "stopping"),
        UNCHANGED,
        respond_with_state("STOPPED", "stopping", '"2"'),
        respond_with_state("STOPPED", None, '"3"'),
    ]
    vm = runner.run(waits.wait_for("id", "STOPPED", 60), *states, respond_with_vm(status="STOPPED"))
    assert vm.status == "STOPPED"
    assert runner.sent_headers("If-None-Match") == [None, '"1"', '"1"', '"2"', None]
    assert runner.delays[0] == 0 < runner.delays[1] < runner.delays[2] < runner.delays[3] < 1


def test_wait_ends_at_once_if_the_vm_fails_or_is_deleted(
    runner: PlanRunner, waits: WaitCalls
) -> None:
    failed = respond_with_vm(status="ERROR", fault=FAULT)
    with pytest.raises(VMFailed, match="No valid host") as caught:
        runner.run(waits.wait_for("id", "RUNNING", 60), respond_with_state("ERROR"), failed)
    assert caught.value.vm.status == "ERROR"
    gone = respond_with_problem(404, "vm_not_found")
    with pytest.raises(VmNotFound):
        runner.run(waits.wait_for("id", "RUNNING", 60), gone)
    runner.run(waits.wait_until_deleted("id", 60), respond_with_state("RUNNING", "deleting"), gone)


def test_wait_needs_no_tag(runner: PlanRunner, waits: WaitCalls) -> None:
    states = [respond_with_state("STOPPED", "starting"), respond_with_state("RUNNING")]
    for state in states:
        del state.headers["etag"]  # type: ignore[attr-defined]
    vm = respond_with_vm(status="RUNNING", task=None)
    assert runner.run(waits.wait_for("v1", "RUNNING", 60), *states, vm).status == "RUNNING"
    assert runner.sent_headers("If-None-Match") == [None, None, None]


def test_attempt_after_a_pause_ends_at_the_deadline(runner: PlanRunner, waits: WaitCalls) -> None:
    running = respond(200, RUNNING_OPERATION)
    begin = runner.now
    with pytest.raises(DeadlineExceeded, match="has not finished within 20 s"):
        runner.run(waits.wait_for_operation("op-1", 20), running)
    end = begin
    for attempt in runner.attempts:
        end += attempt.delay
        assert end + attempt.timeout <= begin + 20 + 0.1


def test_wait_ends_at_its_deadline(runner: PlanRunner, waits: WaitCalls) -> None:
    begin = runner.now
    running = respond_with_state("RUNNING", "stopping")
    with pytest.raises(DeadlineExceeded, match="is RUNNING with the task stopping, and not STOPP"):
        runner.run(waits.wait_for("id", "STOPPED", 60), running)
    with pytest.raises(DeadlineExceeded, match="is RUNNING, and not deleted"):
        runner.run(waits.wait_until_deleted("id", 60), running)
    assert runner.now - begin <= 120


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7.0), ("", None), ("soon", None), ("²", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    assert parse_retry_after(text) == seconds


@pytest.mark.parametrize("key", ["", " ", "a\nb", "ü"])
def test_key_that_no_header_holds_is_refused(runner: PlanRunner, calls: VMCalls, key: str) -> None:
    with pytest.raises(ValueError, match=r"^idempotency_key is .*printable ASCII"):
        runner.run(calls.delete("id", ChangeOptions(key=key)), UNCHANGED)


def test_status_that_no_vm_reaches_is_refused(runner: PlanRunner, waits: WaitCalls) -> None:
    for status in ("running", "BUILDING", "NOPE"):
        with pytest.raises(ValueError, match="it is one of STOPPED, RUNNING, PAUSED, ERROR"):
            runner.run(waits.wait_for("id", status, 60), UNCHANGED)


def test_one_text_is_a_list_of_one() -> None:
    assert as_list("default") == ["default"]
    assert bulk_body("stop", "id", None) == {"action": "stop", "ids": ["id"]}
