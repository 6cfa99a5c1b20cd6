"""Actions of the OpenStack driver: request bodies, outcomes and records."""

from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support.fake_openstack import (
    ACCEPTED,
    REQUEST_ID,
    SERVER_ID,
    SERVER_NOT_FOUND,
    SERVER_PATH,
    WRONG_STATE,
    FakeOpenStack,
    Reply,
    action_bodies,
    server_reply,
)
from vmapi import errors
from vmapi.backends.base import AcceptedAction, ActionOutcome
from vmapi.backends.openstack.driver import OpenStackBackend
from vmapi.domain.lifecycle import Verb


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        (Verb.START, {"os-start": None}),
        (Verb.STOP, {"os-stop": None}),
        (Verb.RESTART_SOFT, {"reboot": {"type": "SOFT"}}),
        (Verb.RESTART_HARD, {"reboot": {"type": "HARD"}}),
        (Verb.PAUSE, {"pause": None}),
        (Verb.RESUME, {"unpause": None}),
    ],
)
def test_default_body_is_sent_without_a_read(
    cloud: FakeOpenStack, backend: OpenStackBackend, verb: Verb, body: Any
) -> None:
    cloud.reply_to("POST", f"{SERVER_PATH}/action", ACCEPTED)
    assert backend.perform_action(SERVER_ID, verb) == AcceptedAction(SERVER_ID, REQUEST_ID)
    assert action_bodies(cloud) == [body]
    assert not cloud.count_requests("GET", SERVER_PATH)


@pytest.mark.parametrize(
    ("verb", "status", "body"),
    [
        (Verb.START, "SHELVED", {"unshelve": None}),
        (Verb.START, "SHELVED_OFFLOADED", {"unshelve": None}),
        (Verb.RESUME, "SUSPENDED", {"resume": None}),
    ],
)
def test_body_for_status_is_sent_after_the_default_body_is_refused(
    cloud: FakeOpenStack, backend: OpenStackBackend, verb: Verb, status: str, body: Any
) -> None:
    cloud.reply_to("POST", f"{SERVER_PATH}/action", WRONG_STATE, ACCEPTED)
    cloud.reply_to("GET", SERVER_PATH, server_reply(status))
    assert backend.perform_action(SERVER_ID, verb) == AcceptedAction(SERVER_ID, REQUEST_ID)
    assert action_bodies(cloud)[1:] == [body]


@pytest.mark.parametrize("verb", [Verb.START, Verb.RESUME, Verb.STOP])
def test_refused_action_is_not_repeated(
    cloud: FakeOpenStack, backend: OpenStackBackend, verb: Verb
) -> None:
    cloud.reply_to("POST", f"{SERVER_PATH}/action", WRONG_STATE)
    with pytest.raises(errors.InvalidState, match="is not ready"):
        backend.perform_action(SERVER_ID, verb)
    assert len(action_bodies(cloud)) == 1


def test_action_on_a_server_without_host_is_invalid_state(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    cloud.reply_to("GET", SERVER_PATH, server_reply("BUILD"))
    with pytest.raises(errors.InvalidState):
        backend.perform_action(SERVER_ID, Verb.STOP)
    cloud.reply_to("GET", SERVER_PATH, SERVER_NOT_FOUND)
    with pytest.raises(errors.VMNotFound):
        backend.perform_action(SERVER_ID, Verb.STOP)


def test_action_on_a_just_deleted_server_is_not_found(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    message = f"Cannot 'stop' instance {SERVER_ID} while it is in vm_state deleted"
    cloud.reply_to(
        "POST", f"{SERVER_PATH}/action", Reply(409, {"conflictingRequest": {"message": message}})
    )
    cloud.reply_to("GET", SERVER_PATH, server_reply("DELETED"))
    with pytest.raises(errors.VMNotFound):
        backend.perform_action(SERVER_ID, Verb.STOP)


def test_delete_returns_the_request_id(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    cloud.reply_to("DELETE", SERVER_PATH, Reply(204, None, {"X-Compute-Request-Id": REQUEST_ID}))
    assert backend.perform_action(SERVER_ID, Verb.DELETE) == AcceptedAction(SERVER_ID, REQUEST_ID)


FINISHED_AT = "2026-11-22T15:55:49.000000"


def event(
    result: str | None, finish: str | None = FINISHED_AT, name: str = "stop"
) -> dict[str, Any]:
    return {"event": f"compute_{name}_instance", "result": result, "finish_time": finish}


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([], ActionOutcome.PENDING),
        ([event(None, None)], ActionOutcome.PENDING),
        ([event("Success")], ActionOutcome.SUCCEEDED),
        ([event("Success"), event(None, None, "spawn")], ActionOutcome.PENDING),
        # after a restart of nova-compute, Nova finishes one of two events of a name
        ([event(None, None), event("Success")], ActionOutcome.SUCCEEDED),
        ([event("Success", None)], ActionOutcome.PENDING),
        ([event("Success"), event("Error")], ActionOutcome.FAILED),
        ([event("Error"), event(None, None)], ActionOutcome.FAILED),
    ],
)
def test_outcome_follows_from_the_events(
    cloud: FakeOpenStack, backend: OpenStackBackend, events: list[Any], outcome: ActionOutcome
) -> None:
    path = f"{SERVER_PATH}/os-instance-actions/{REQUEST_ID}"
    cloud.reply_to("GET", path, Reply(200, {"instanceAction": {"events": events}}))
    assert backend.get_outcome(AcceptedAction(SERVER_ID, REQUEST_ID)) is outcome


def test_outcome_without_record_is_pending(cloud: FakeOpenStack, backend: OpenStackBackend) -> None:
    assert backend.get_outcome(AcceptedAction(SERVER_ID, REQUEST_ID)) is ActionOutcome.PENDING
    cloud.reply_to("GET", SERVER_PATH, server_reply("SOFT_DELETED"))
    with pytest.raises(errors.VMNotFound):
        backend.get_outcome(AcceptedAction(SERVER_ID, REQUEST_ID))


POLICY_REFUSAL = Reply(
    403, {"forbidden": {"code": 403, "message": "Policy doesn't allow os-instance-actions:show."}}
)


def hide_records(cloud: FakeOpenStack) -> None:
    for path in (
        f"{SERVER_PATH}/os-instance-actions/{REQUEST_ID}",
        f"{SERVER_PATH}/os-instance-actions",
    ):
        cloud.reply_to("GET", path, POLICY_REFUSAL)


def test_hidden_record_leaves_the_outcome_to_the_vm(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    hide_records(cloud)
    action = AcceptedAction(SERVER_ID, REQUEST_ID)
    with capture_logs() as logs:
        outcomes = {backend.get_outcome(action) for _ in range(3)}
    assert outcomes == {ActionOutcome.SUCCEEDED}
    # the operator gets one warning, not one per operation
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == [
        "records of actions are hidden: operations are judged by the VM alone"
    ]


@pytest.mark.parametrize(
    ("verb", "status", "task_state", "is_found"),
    [
        (Verb.STOP, "SHUTOFF", None, True),
        (Verb.STOP, "ACTIVE", "powering-off", True),
        (Verb.STOP, "ACTIVE", "pausing", False),
        (Verb.STOP, "ACTIVE", None, False),
        (Verb.PAUSE, "PAUSED", None, True),
        (Verb.RESTART_SOFT, "REBOOT", "rebooting", True),
        (Verb.RESTART_HARD, "ACTIVE", None, False),
    ],
)
def test_vm_shows_an_action_with_hidden_records(
    cloud: FakeOpenStack,
    backend: OpenStackBackend,
    verb: Verb,
    status: str,
    task_state: str | None,
    *,
    is_found: bool,
) -> None:
    hide_records(cloud)
    task = {"OS-EXT-STS:task_state": task_state}
    cloud.reply_to("GET", SERVER_PATH, server_reply(status, tenant_id="p", **task))
    action = backend.find_action(SERVER_ID, verb, datetime(2026, 1, 1, tzinfo=UTC))
    assert action == (AcceptedAction(SERVER_ID, "") if is_found else None)
    if action is not None:
        assert backend.get_outcome(action) is ActionOutcome.SUCCEEDED


def test_action_is_found_by_verb_time_and_request_id(
    cloud: FakeOpenStack, backend: OpenStackBackend
) -> None:
    records = [
        {"action": "stop", "request_id": "req-2", "start_time": "2026-11-22T15:00:30.000000"},
        {"action": "pause", "request_id": "req-3", "start_time": "2026-11-22T15:00:40.000000"},
        {"action": "stop", "request_id": "req-1", "start_time": "2026-11-22T15:00:10.000000"},
    ]
    cloud.reply_to(
        "GET", f"{SERVER_PATH}/os-instance-actions", Reply(200, {"instanceActions": records})
    )

    def find(verb: Verb, second: int, *exclude: str) -> AcceptedAction | None:
        since = datetime(2026, 11, 22, 15, 0, second, tzinfo=UTC)
        return backend.find_action(SERVER_ID, verb, since, exclude)

    assert find(Verb.STOP, 0) == AcceptedAction(SERVER_ID, "req-2")
    assert find(Verb.STOP, 32) == AcceptedAction(SERVER_ID, "req-2")
    assert find(Verb.STOP, 33) is None
    assert find(Verb.STOP, 0, "req-2", "req-3") == AcceptedAction(SERVER_ID, "req-1")
    assert find(Verb.STOP, 30, "req-2") is None
    assert find(Verb.START, 0) is None
