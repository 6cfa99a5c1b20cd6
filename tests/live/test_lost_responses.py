"""Answers of the real Nova that are lost or spoiled on the way to us."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.live.api_response import Answer, problem
from tests.support.live.api_script import Script
from tests.support.live.nova_proxy import HASTE, Proxy, Reply

CALLS = 3
"""What a create may wait for in turn: whose the name is, the order, what came of it."""
NOBODY = "00000000-0000-4000-8000-000000000000"
HTML = Reply(200, b"<html>Please log in</html>", (("Content-Type", "text/html"),))
BUSY = Reply(503, b"<html>", (("Retry-After", "7"),))
FAILED = Reply(500, b'{"computeFault": {"code": 500, "message": "Unexpected API Error."}}')


def told(reply: Reply) -> dict[str, Any]:
    """Answer with this whatever the cloud has said."""
    return {"spoil": lambda _: reply}


LOST: dict[str, dict[str, Any]] = {
    "stall": {"stall": True},
    "reset": {"lost": True},
    "half": {"spoil": lambda reply: replace(reply, half=True)},
    "bad-gateway": told(Reply(502, b"<html>")),
}
READS: dict[str, tuple[dict[str, Any], int, str]] = {
    "stall": ({"stall": True}, 504, "backend_timeout"),
    "reset": ({"lost": True}, 503, "backend_unavailable"),
    "busy": (told(BUSY), 503, "backend_unavailable"),
    "failed": (told(FAILED), 502, "backend_error"),
    "html": (told(HTML), 502, "backend_error"),
    "half": (told(Reply(200, b'{"servers": [], "server": {}}', half=True)), 502, "backend_error"),
    "list": (told(Reply(200, b"[]")), 502, "backend_error"),
    "empty": (told(Reply(200, b"{}")), 502, "backend_error"),
    "wrong": (told(Reply(200, b'{"servers": [1], "server": "?"}')), 502, "backend_error"),
}

pytestmark = pytest.mark.live


def test_reads(hasty: Script, proxy: Proxy) -> None:
    assert hasty.get("/vms?name=nobody")["items"] == []
    for case, (how, status, code) in READS.items():
        # what is known is asked for only by who wants it as it is now
        for path, fresh in (("/vms", True), (f"/vms/{NOBODY}", False)):
            with proxy.trouble("GET", "/servers", arrive=False, **how) as trouble:
                answer = hasty.call("GET", path, fresh=fresh)
                sent = trouble.seen
                known = hasty.call("GET", "/vms?name=nobody")
            problem(answer, status, code)
            assert answer.seconds < HASTE + 1, case
            retry = {"busy": "7"}.get(case, "5") if status == 503 else None
            assert answer.headers.get("Retry-After") == retry
            assert 1 <= sent <= 3
            assert (known.status, known.body["items"]) == (200, [])
            assert "Age" in known.headers
            hasty.refused(404, "vm_not_found", "GET", f"/vms/{NOBODY}")


def test_creates_that_are_found_again(hasty: Script, proxy: Proxy, owner: Any) -> None:
    answers = {}
    for case, how in LOST.items():
        with proxy.trouble("POST", "/servers$", **how) as trouble:
            answers[case] = hasty.order(case, start=True)
        check_unknown(answers[case])
        assert trouble.seen == 1
    for case, spoiled in {"failed": FAILED, "html": HTML}.items():
        with proxy.trouble("POST", "/servers$", **told(spoiled)) as trouble:
            answers[case] = hasty.order(case, start=True)
        if answers[case].seconds < HASTE:
            assert answers[case].status == 202
        # else Nova itself may have been too slow for a vmapi in haste
        assert answers[case].status in (202, 504)
        assert trouble.seen == 1
    for case, answer in answers.items():
        operation = hasty.ended(answer)
        assert (operation["status"], operation["error"]) == ("succeeded", None)
        (vm,) = hasty.get(f"/vms?name={hasty.name(case)}")["items"]
        assert (vm["id"], vm["status"]) == (operation["vm_id"], "RUNNING")
    listed = owner.compute.get(f"/servers?name=^{hasty.label}").json()["servers"]
    assert len(listed) == len(answers)


def test_creates_that_never_arrived(hasty: Script, proxy: Proxy) -> None:
    for case, (reply, status, code) in {
        "busy": (BUSY, 503, "backend_unavailable"),
        "failed": (FAILED, 502, "backend_error"),
        "html": (HTML, 502, "backend_error"),
        "list": (Reply(202, b"[]"), 502, "backend_error"),
    }.items():
        with proxy.trouble("POST", "/servers$", arrive=False, **told(reply)) as trouble:
            answer = hasty.order(case)
        problem(answer, status, code)
        assert trouble.seen == 1
        assert answer.headers.get("Retry-After") == ("7" if case == "busy" else None)
        (operation,) = hasty.get("/operations?action=create&page_size=1")["items"]
        assert (operation["status"], operation["vm_id"]) == ("failed", None)
        assert operation["error"]["code"] == code
    assert hasty.get(f"/vms?name={hasty.label}-*")["total"] == 0


def test_actions(hasty: Script, proxy: Proxy) -> None:
    vm_id = hasty.running()
    for action, how, at_once, goal in (
        ("stop", LOST["stall"], False, "STOPPED"),
        ("start", LOST["reset"], False, "RUNNING"),
        ("pause", told(FAILED), True, "PAUSED"),
        ("resume", told(HTML), True, "RUNNING"),
        ("restart", LOST["bad-gateway"], False, "RUNNING"),
    ):
        with proxy.trouble("POST", "/action$", **how) as trouble:
            answer = hasty.act(vm_id, action)
        if at_once:
            assert answer.status in (200, 202)
        else:
            check_unknown(answer)
        operation = hasty.ended(answer)
        assert (operation["status"], operation["error"]) == ("succeeded", None), action
        assert hasty.settled(vm_id)["status"] == goal
        assert trouble.seen == 1
    for reply, status, code in (
        (BUSY, 503, "backend_unavailable"),
        (FAILED, 502, "backend_error"),
        (HTML, 502, "backend_error"),
    ):
        # not a pause: Nova's clock is too coarse to tell it from the one before
        with proxy.trouble("POST", "/action$", arrive=False, **told(reply)) as trouble:
            hasty.refused(status, code, "POST", f"/vms/{vm_id}/stop")
        (operation,) = hasty.get(f"/operations?vm_id={vm_id}&page_size=1")["items"]
        assert (operation["status"], operation["error"]["code"]) == ("failed", code)
        vm = hasty.vm(vm_id)
        assert (trouble.seen, vm["status"], vm["task"]) == (1, "RUNNING", None)
    check_changes(hasty, proxy, vm_id)


def check_changes(hasty: Script, proxy: Proxy, vm_id: str) -> None:
    """Change, lose and delete a VM; what may be done twice is done again."""
    path = f"/vms/{vm_id}"
    with proxy.trouble("PUT", "/metadata$", **LOST["stall"]):
        patched = hasty.call("PATCH", path, {"metadata": {"env": "test"}})
    check_unknown(patched)
    assert hasty.ended(patched)["status"] == "succeeded"
    assert hasty.settled(vm_id)["metadata"] == {"env": "test"}
    # nobody knows that this one never arrives
    with proxy.trouble("POST", "/action$", arrive=False, **LOST["reset"]) as trouble:
        never = hasty.act(vm_id, "stop")
    check_unknown(never)
    operation = hasty.get(never.headers["Operation-Location"])
    vm = hasty.vm(vm_id)
    assert (operation["status"], trouble.seen) == ("running", 1)
    assert (vm["status"], vm["task"], vm["allowed_actions"]) == ("RUNNING", "stopping", ["delete"])
    hasty.refused(409, "task_in_progress", "POST", f"{path}/pause")
    with proxy.trouble("DELETE", "/servers/", **LOST["reset"]):
        deleted = hasty.call("DELETE", path)
    check_unknown(deleted)
    assert hasty.ended(deleted)["status"] == "succeeded"
    assert hasty.ended(never)["status"] == "superseded"
    hasty.refused(404, "vm_not_found", "GET", path)


def check_unknown(answer: Answer) -> None:
    """See that a client learns that nothing is known yet, and where it will be."""
    assert problem(answer, 504, "backend_timeout")["operation"].startswith("/api/v1/operations/")
    assert answer.headers["Operation-Location"] == answer.body["operation"]
    assert answer.seconds < CALLS * HASTE + 1
