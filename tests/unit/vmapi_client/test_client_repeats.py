"""Repeats of the Python client, held to the table of "Safe repeats" in the API reference."""

import pytest

from tests.support.client_plans import (
    LOST,
    PlanRunner,
    respond,
    respond_with_problem,
    respond_with_vm,
)
from vmapi_client.core.calls.session import ChangeOptions
from vmapi_client.core.calls.vms import VMCalls
from vmapi_client.core.exchange import Failure, Reply, Response
from vmapi_client.errors import (
    BackendUnavailable,
    BuildFailed,
    CertificateRejected,
    ConfigurationError,
    DeadlineExceeded,
    HostNotFound,
    InvalidState,
    NotReachable,
    NotVmapi,
    RateLimited,
    Unauthenticated,
)

OPTIONS = ChangeOptions(wait=True, key="key-1")
REPLAYED = {"idempotent_replayed": "true"}
HTML = Response(502, {"content-type": "text/html"}, b"<h1>Bad Gateway</h1>")
SETTLED = respond_with_vm(200)


@pytest.fixture
def calls(runner: PlanRunner) -> VMCalls:
    return VMCalls(runner.session)


@pytest.mark.parametrize(
    "reply",
    [
        LOST,
        Response(200, {"content-type": "application/json"}, b'{"id": "c15d'),
        HTML,
        Response(500, {"content-type": "text/html"}, b""),
        respond_with_problem(503, "store_unavailable", {"allowed_actions": None}),
        respond_with_problem(503, "store_unavailable", {"code": {}}),
        respond_with_vm(202, {"retry_after": "1"}),
        respond_with_problem(429, "rate_limited", retry_after="2"),
        respond_with_problem(409, "idempotency_in_progress", retry_after="1"),
        respond_with_problem(502, "backend_error"),
        respond_with_problem(503, "backend_unavailable", retry_after="1"),
        respond_with_problem(504, "backend_timeout"),
        # the contract: a response with Retry-After is repeated, a replayed one too
        respond_with_problem(504, "backend_timeout", retry_after="1", **REPLAYED),
    ],
)
def test_change_without_a_final_outcome_is_repeated_with_its_key(
    runner: PlanRunner, calls: VMCalls, reply: Reply
) -> None:
    assert runner.run(calls.act("id", "stop", OPTIONS), reply, reply, SETTLED).status == "RUNNING"
    assert runner.sent_headers("Idempotency-Key") == ["key-1"] * 3
    assert len(set(runner.sent_headers("X-Request-ID"))) == 1
    retry_after = reply.retry_after if isinstance(reply, Response) else None
    if retry_after is not None:
        assert runner.delays == [0, retry_after, retry_after]
    else:
        assert runner.delays[0] == 0 < runner.delays[1] < runner.delays[2]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (respond_with_problem(409, "invalid_state"), InvalidState),
        (respond_with_problem(502, "build_failed", **REPLAYED), BuildFailed),
        (respond_with_problem(503, "backend_unavailable", **REPLAYED), BackendUnavailable),
        (respond_with_problem(401, "unauthenticated"), Unauthenticated),
        (Failure("unknown", "host"), HostNotFound),
        (Failure("self-signed", "certificate"), CertificateRejected),
        (Failure("no scheme", "url"), ConfigurationError),
        (Response(200, {"content-type": "text/html"}, b"<html>"), NotVmapi),
        (Response(404, {"content-type": "text/html"}, b"<html>"), NotVmapi),
        (Response(301, {"location": "https://other.example.org/"}), NotVmapi),
    ],
)
def test_final_outcome_ends_a_change_at_once(
    runner: PlanRunner, calls: VMCalls, reply: Reply, error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        runner.run(calls.act("id", "stop", OPTIONS), reply)
    assert len(runner.attempts) == 1
    assert getattr(caught.value, "idempotency_key", None) == "key-1"


JSON = {"content-type": "application/json"}
EVENT_STREAM = {"content-type": "text/event-stream"}
NESTED = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "reply",
    [
        respond(200, {"status": "ok"}),
        respond(200, []),
        respond(200, "text"),
        respond(200, None),
        Response(200, JSON, b"null"),
        Response(200, JSON, NESTED),
        Response(200, EVENT_STREAM, b"data: {}"),
        Response(200, {"content-type": "text/html"}, b"<html>"),
        Response(200, {}, b""),
        Response(204, {}),
        Response(304, {}),
        Response(404, JSON, b"{}"),
        Response(403, {"content-type": "text/html"}, b"<html>"),
        Response(302, {"location": "https://login.example.org/"}),
        Response(422, {"content-type": "application/problem+json"}, NESTED),
        respond_with_problem(403, "foreign", {"status": "403"}),
        respond_with_problem(403, "foreign", {"detail": None}),
        respond_with_problem(403, "foreign", {"errors": 5}),
        respond_with_problem(403, "foreign", {"errors": [{"pointer": 5, "message": "m"}]}),
    ],
)
def test_foreign_response_to_a_change_tells_its_key(
    runner: PlanRunner, calls: VMCalls, reply: Reply
) -> None:
    with pytest.raises(NotVmapi, match="Repeat it with idempotency_key='key-1'") as caught:
        runner.run(calls.act("id", "stop", OPTIONS), reply)
    assert caught.value.idempotency_key == "key-1"
    assert len(runner.attempts) == 1
    runner.run(calls.act("id", "stop", OPTIONS), SETTLED)
    assert set(runner.sent_headers("Idempotency-Key")) == {"key-1"}


def test_foreign_acceptance_of_a_change_tells_its_key(runner: PlanRunner, calls: VMCalls) -> None:
    queued = respond(202, {"message": "queued"})
    with pytest.raises(NotVmapi, match="Repeat it with idempotency_key='key-1'"):
        runner.run(calls.act("id", "stop", ChangeOptions(key="key-1")), queued)
    with pytest.raises(DeadlineExceeded, match="Repeat it with idempotency_key='key-1'"):
        runner.run(calls.act("id", "stop", OPTIONS), queued)


@pytest.mark.parametrize("body", [b"", b'{"id": "c15d', b"\xff"])
def test_incomplete_response_to_a_change_is_repeated_and_tells_its_key(
    runner: PlanRunner, calls: VMCalls, body: bytes
) -> None:
    with pytest.raises(NotReachable, match="Repeat it with idempotency_key='key-1'"):
        runner.run(calls.act("id", "stop", OPTIONS), Response(200, JSON, body))
    assert len(runner.attempts) > 2


def test_failure_to_connect_tells_the_key_only_after_an_attempt_that_may_have_arrived(
    runner: PlanRunner, calls: VMCalls
) -> None:
    unknown = Failure("unknown", "host")
    with pytest.raises(HostNotFound) as caught:
        runner.run(calls.act("id", "stop", OPTIONS), unknown)
    assert "key-1" not in str(caught.value)
    with pytest.raises(HostNotFound, match="Repeat it with idempotency_key='key-1'"):
        runner.run(calls.act("id", "stop", OPTIONS), LOST, unknown)


def test_token_file_that_vanishes_ends_a_change_and_tells_its_key(
    runner: PlanRunner, calls: VMCalls
) -> None:
    no_token = Failure("no token", "configuration", ConfigurationError("no token"))
    with pytest.raises(ConfigurationError, match=r"^no token$"):
        runner.run(calls.act("id", "stop", OPTIONS), no_token)
    with pytest.raises(ConfigurationError, match="Repeat it with idempotency_key='key-1'"):
        runner.run(calls.act("id", "stop", OPTIONS), LOST, no_token)


def test_change_without_wait_ends_with_its_acceptance(runner: PlanRunner, calls: VMCalls) -> None:
    accepted = respond_with_vm(202, {"retry_after": "1"}, task="stopping")
    vm = runner.run(calls.act("id", "stop", ChangeOptions()), accepted)
    assert (vm.task, runner.sent_headers("Prefer")) == ("stopping", [None])


def test_each_change_has_a_new_key(runner: PlanRunner, calls: VMCalls) -> None:
    for _ in range(2):
        runner.run(calls.act("id", "stop", ChangeOptions()), SETTLED)
    assert len(set(runner.sent_headers("Idempotency-Key"))) == 2


def test_waiting_change_lets_the_server_wait_within_the_deadline(
    runner: PlanRunner, calls: VMCalls
) -> None:
    options = ChangeOptions(wait=True, timeout=40)
    accepted = respond_with_vm(202, {"retry_after": "15"})
    with pytest.raises(DeadlineExceeded) as caught:
        runner.run(calls.act("id", "stop", options), accepted)
    assert runner.sent_headers("Prefer") == ["wait=30", "wait=24", "wait=9"]
    assert [round(attempt.timeout) for attempt in runner.attempts] == [40, 25, 10]
    assert str(caught.value).startswith("POST /vms/id/stop has not finished within 40 s.")
    assert f"idempotency_key={caught.value.idempotency_key!r}" in str(caught.value)


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (LOST, NotReachable),
        (HTML, NotReachable),
        (respond_with_problem(429, "rate_limited", retry_after="700"), RateLimited),
        (respond_with_problem(503, "backend_unavailable", retry_after="5"), BackendUnavailable),
    ],
)
def test_deadline_ends_a_change_with_the_last_reason_and_its_key(
    runner: PlanRunner, calls: VMCalls, reply: Reply, error: type[Exception]
) -> None:
    with pytest.raises(error, match="Repeat it with idempotency_key='key-1'"):
        runner.run(calls.act("id", "stop", OPTIONS), reply)
    assert runner.now <= 1600


@pytest.mark.parametrize("code", ["rate_limited", "backend_error", "store_unavailable"])
def test_read_is_repeated_while_the_reason_is_temporary(
    runner: PlanRunner, calls: VMCalls, code: str
) -> None:
    status = {"rate_limited": 429, "backend_error": 502, "store_unavailable": 503}[code]
    refusal = respond_with_problem(status, code, retry_after="3")
    assert runner.run(calls.get("id"), refusal, LOST, SETTLED).name == "web-1"
    assert runner.delays[:2] == [0, 3]


def test_errors_say_where_url_and_token_came_from(runner: PlanRunner, calls: VMCalls) -> None:
    refusal = respond_with_problem(401, "unauthenticated")
    with pytest.raises(Unauthenticated, match="The token came from VMAPI_TOKEN"):
        runner.run(calls.get("id"), refusal)
    with pytest.raises(HostNotFound, match=r"https://vmapi\.example\.org from VMAPI_URL"):
        runner.run(calls.get("id"), Failure("unknown", "host"))
    moved = Response(308, {"location": "https://vmapi.example.org/api/v1/vms/id"})
    with pytest.raises(NotVmapi, match="is redirected to https://vmapi"):
        runner.run(calls.get("id"), moved)


def test_response_without_the_required_members_is_not_of_vmapi(
    runner: PlanRunner, calls: VMCalls
) -> None:
    for document in ({"id": "1"}, [], "text"):
        with pytest.raises(NotVmapi):
            runner.run(calls.get("id"), respond(200, document))


@pytest.mark.parametrize("timeout", [0, -1, 24 * 3600, float("nan")])
def test_timeout_out_of_range_is_refused(
    runner: PlanRunner, calls: VMCalls, timeout: float
) -> None:
    with pytest.raises(ValueError, match="timeout is"):
        runner.run(calls.get("id", timeout=timeout), SETTLED)
    assert runner.attempts == []
