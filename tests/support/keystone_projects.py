"""Samples of the OpenStack driver with Keystone projects: a caller and its changes."""

from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

from tests.support.fake_openstack import (
    REQUEST_ID,
    SERVER_ID,
    SPEC,
    FakeOpenStack,
    Reply,
)
from vmapi.backends.base import Backend
from vmapi.domain.access.identity import CallerToken
from vmapi.domain.lifecycle import Verb
from vmapi.domain.vm import VMPatch

NOVA, TOKENS = "/compute/v2.1", "/identity/v3/auth/tokens"
SERVERS = f"{NOVA}/servers"
SERVER, DETAIL = f"{SERVERS}/{SERVER_ID}", f"{SERVERS}/detail"
TOKEN = "gAAAAABalice"
ALICE = CallerToken(TOKEN, "project-a")
ACCEPTED_CHANGE = Reply(
    202, {"server": {"id": SERVER_ID}, "metadata": {}}, {"X-Openstack-Request-Id": REQUEST_ID}
)
FORBIDDEN_BY_POLICY = Reply(
    403, {"forbidden": {"message": "Policy doesn't allow it to be performed."}}
)
SPEC_IN_PROJECT_A = replace(SPEC, project="project-a")
Change = Callable[[Backend], object]
CHANGES: dict[str, tuple[Change, tuple[str, str]]] = {
    "create": (
        lambda cloud: cloud.create_vm(SPEC_IN_PROJECT_A, "op-1", caller_token=ALICE),
        ("POST", SERVERS),
    ),
    "stop": (
        lambda cloud: cloud.perform_action(SERVER_ID, Verb.STOP, caller_token=ALICE),
        ("POST", f"{SERVER}/action"),
    ),
    "delete": (
        lambda cloud: cloud.perform_action(SERVER_ID, Verb.DELETE, caller_token=ALICE),
        ("DELETE", SERVER),
    ),
    "rename": (
        lambda cloud: cloud.update_vm(SERVER_ID, VMPatch(name="web-2"), caller_token=ALICE),
        ("PUT", SERVER),
    ),
    "metadata": (
        lambda cloud: cloud.update_vm(SERVER_ID, VMPatch(metadata={"a": "1"}), caller_token=ALICE),
        ("POST", f"{SERVER}/metadata"),
    ),
}


def requests_with_token(cloud: FakeOpenStack, token: str = TOKEN) -> list[tuple[str, str]]:
    """Return the requests that were sent with a token."""
    return [
        (request.method, request.path)
        for request in cloud.requests
        if request.headers.get("X-Auth-Token") == token
    ]


def list_queries(cloud: FakeOpenStack, path: str = DETAIL) -> list[dict[str, list[str]]]:
    """Return the query parameters of each request for a list."""
    urls = (urlsplit(request.path) for request in cloud.requests)
    return [parse_qs(url.query) for url in urls if url.path == path]
