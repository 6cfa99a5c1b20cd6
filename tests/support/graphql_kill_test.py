"""The kill test of GraphQL mutations: each is repeated under its key until it is answered."""

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from tests.support.http_client import HttpClient
from tests.support.kill_test import Life

CLIENT_TIMEOUT_SECONDS = 300.0
REPEAT_SECONDS = 0.3
REPEATED_STATUSES = (409, 429, 500, 502, 503, 504)
CREATE = """mutation Create($name: String!, $key: String!) {
  change: createVm(
    input: {name: $name, flavor: "m1.tiny", image: "cirros"}, idempotencyKey: $key, waitSeconds: 5
  ) { operation { id vmId status error } replayed } }"""
ACT = """mutation Act($id: ID!, $key: String!) {
  change: %s(id: $id, idempotencyKey: $key, waitSeconds: 5) {
    operation { id vmId status error } replayed } }"""
POLL = "query ($id: ID!) { change: operation(id: $id) { id vmId status error } }"
STATUS = "query ($id: ID!) { change: vm(id: $id) { status task } }"


class Unanswered(Exception):
    """The request has no response, or one that says to repeat it."""


class FinalFailure(Exception):
    """The change has failed: a new one needs a new key."""


@contextmanager
def open_graphql(url: str) -> Iterator[Life]:
    """Open a client of the GraphQL endpoint."""
    port = urlsplit(url).port
    assert port is not None
    yield partial(live_through, HttpClient(port))


def live_through(http: HttpClient, name: str) -> None:
    """Take a VM through its life by mutations."""
    vm_id = change(http, CREATE, name=name)["vmId"]
    assert read(http, STATUS, id=vm_id) == {"status": "STOPPED", "task": None}
    change(http, ACT % "startVm", id=vm_id)
    assert read(http, STATUS, id=vm_id) == {"status": "RUNNING", "task": None}
    change(http, ACT % "stopVm", id=vm_id)
    change(http, ACT % "deleteVm", id=vm_id)


def change(http: HttpClient, document: str, **variables: str) -> Any:
    """Make a change, and return its finished operation."""
    deadline = time.monotonic() + CLIENT_TIMEOUT_SECONDS
    while True:
        key = str(uuid.uuid4())
        try:
            operation = repeat(http, document, deadline, key=key, **variables)["operation"]
            while operation["status"] in ("PENDING", "RUNNING"):
                time.sleep(REPEAT_SECONDS)
                operation = repeat(http, POLL, deadline, id=operation["id"])
        except FinalFailure:
            continue
        if operation["status"] == "SUCCEEDED":
            return operation
        assert time.monotonic() < deadline, operation


def read(http: HttpClient, document: str, **variables: str) -> Any:
    """Repeat a query until it is answered, and return its field."""
    return repeat(http, document, time.monotonic() + CLIENT_TIMEOUT_SECONDS, **variables)


def repeat(http: HttpClient, document: str, deadline: float, **variables: str) -> Any:
    """Repeat a request until it is answered. Raises FinalFailure."""
    while True:
        try:
            return send(http, document, variables)
        except (OSError, HTTPException, Unanswered):
            if time.monotonic() > deadline:
                raise
            time.sleep(REPEAT_SECONDS)


def send(http: HttpClient, document: str, variables: dict[str, str]) -> Any:
    """Send a request once. Raises Unanswered, FinalFailure."""
    response = http("POST", "/graphql", {"query": document, "variables": variables})
    if response.status != 200:
        raise Unanswered(response)
    for error in response.json.get("errors", ()):
        problem = error["extensions"]
        if problem.get("replayed") and problem["status"] >= 500:
            raise FinalFailure(problem)
        assert problem["status"] in REPEATED_STATUSES, problem
        raise Unanswered(problem)
    return response.json["data"]["change"]
