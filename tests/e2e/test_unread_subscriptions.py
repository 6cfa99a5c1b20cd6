"""Hundreds of GraphQL subscriptions without a reader delay no other client, and end."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.http_client import wait_until
from tests.support.metrics import scrape
from tests.support.processes import Gunicorn, free_port
from tests.support.unread_subscriptions import read_events, unread_subscriptions

pytestmark = pytest.mark.disruption

VMS = "/api/v1/vms"
UNREAD_SUBSCRIPTIONS = 70
"""Subscriptions of each kind: vanished, stopped, slow."""

LARGE_METADATA = {f"key-{number}": "x" * 250 for number in range(100)}
CHANGES = 12
"""Their events are more than the kernel holds for a stream."""

MAX_MEMORY_GROWTH_BYTES = 150_000_000
LIMITS = {"VMAPI_RATE_READS": "off", "VMAPI_RATE_ADDRESS": "off", "VMAPI_RATE_CHANGES": "off"}


def read_memory_bytes(server: Gunicorn) -> int:
    (worker,) = server.child_pids()
    pages = Path(f"/proc/{worker}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def test_unread_subscriptions_delay_no_client_and_end(gunicorn: Callable[..., Gunicorn]) -> None:
    metrics = free_port()
    server = gunicorn(
        VMAPI_METRICS_BIND=f"127.0.0.1:{metrics}", VMAPI_CALLER_STREAMS="1000", **LIMITS
    )
    server.start().wait_for("/readyz")
    body = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros", "metadata": LARGE_METADATA}
    created = server.call("POST", VMS, body, headers={"Prefer": "wait=30"})
    before = read_memory_bytes(server)
    with (
        unread_subscriptions(server.port, UNREAD_SUBSCRIPTIONS),
        read_events(server.port) as events,
    ):
        for number in range(CHANGES):
            change = {"metadata": {"change": str(number)}}
            assert server.call("PATCH", f"{VMS}/{created.json['id']}", change).status in (200, 202)
            # a change has several events
            assert any(event["vm"]["metadata"].get("change") == str(number) for event in events)
            assert server.call.get_json(VMS)["total"] == 1
        assert read_memory_bytes(server) - before < MAX_MEMORY_GROWTH_BYTES
        wait_until(
            "the slots of the subscriptions",
            lambda: scrape(metrics).sum("vmapi_event_streams") == 1,
        )


def test_server_stops_in_time_with_unread_subscriptions(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(VMAPI_CALLER_STREAMS="1000", VMAPI_BACKEND_TIMEOUT="5", **LIMITS)
    server.start().wait_for("/readyz")
    body = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros", "metadata": LARGE_METADATA}
    created = server.call("POST", VMS, body, headers={"Prefer": "wait=30"})
    with unread_subscriptions(server.port, UNREAD_SUBSCRIPTIONS):
        for number in range(CHANGES):
            change = {"metadata": {"change": str(number)}}
            server.call("PATCH", f"{VMS}/{created.json['id']}", change)
        os.kill(server.pid, signal.SIGTERM)
        stopped_at = time.monotonic()
        assert server.wait_for_exit() == 0
        # graceful_timeout is VMAPI_BACKEND_TIMEOUT and 15 s
        assert time.monotonic() - stopped_at < 30
    assert [line for line in server.log_lines() if line["level"] == "error"] == []
