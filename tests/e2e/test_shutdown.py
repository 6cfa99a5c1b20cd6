"""Signals to gunicorn: graceful stop, reload, restart, number of workers."""

import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.http_client import read_response, send_request, wait_until
from tests.support.kill_test import build_settings
from tests.support.processes import Gunicorn
from tests.support.stateful_nova import run_stateful_nova

pytestmark = pytest.mark.usefixtures("new_interpreters")

VMS = "/api/v1/vms"
NEW_VM = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}


def test_stop_waits_for_running_requests(gunicorn: Callable[..., Gunicorn], tmp_path: Path) -> None:
    with ExitStack() as stack:
        url, nova = stack.enter_context(run_stateful_nova(loses_responses=False))
        server = gunicorn(**build_settings(url, tmp_path) | {"VMAPI_WORKERS": "1"})
        server.start().wait_for("/readyz")
        idle, slow = server.call.connect(), server.call.connect()
        stack.callback(idle.close)
        stack.callback(slow.close)
        assert send_request(idle, "GET", "/livez").status == 200
        nova.answers.clear()
        slow.request("POST", VMS, json.dumps(NEW_VM), {"Content-Type": "application/json"})
        wait_until("the request at Nova", lambda: nova.creates["web-1"])
        os.kill(server.pid, signal.SIGTERM)
        wait_until("a closed listener", lambda: not _listens(server))
        draining = send_request(idle, "GET", "/readyz")
        assert (draining.status, draining.json["status"]) == (503, "draining")
        assert draining.headers["Connection"] == "close"
        nova.answers.set()
        answer = read_response(slow)
        assert (answer.status, answer.json["name"]) == (202, "web-1")
        assert server.wait_for_exit() == 0


def test_stop_does_not_wait_for_idle_connections(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn()
    server.start().wait_for("/livez")
    os.kill(server.pid, signal.SIGTERM)
    assert server.wait_for_exit() == 0
    assert [line["level"] for line in server.log_lines() if line["level"] == "error"] == []


def test_reload_interrupts_no_request(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn()
    server.start().wait_for("/livez")
    (before,) = server.child_pids()
    os.kill(server.pid, signal.SIGHUP)

    def is_reloaded() -> bool:
        assert server.call("GET", "/livez").status == 200
        return len(now := server.child_pids()) == 1 and now != [before]

    wait_until("another worker", is_reloaded)


def test_socket_activation_survives_a_restart(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    server = gunicorn()
    with socket.create_server(("127.0.0.1", server.port)) as listener, ExitStack() as stack:
        server.start(listener_fd=listener.fileno()).wait_for("/livez")
        os.kill(server.pid, signal.SIGTERM)
        assert server.wait_for_exit() == 0
        connections = [server.call.connect() for _ in range(5)]
        for connection in connections:
            stack.callback(connection.close)
            connection.request("GET", "/livez")
        server.start(listener_fd=listener.fileno())
        assert [read_response(connection).status for connection in connections] == [200] * 5


def test_memory_cloud_refuses_a_second_process(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn()
    server.start().wait_for("/readyz")
    workers = server.child_pids()
    os.kill(server.pid, signal.SIGTTIN)
    reason = "the memory cloud lives in the memory of one process"
    server.wait_for_line(level="error", message=f"{reason}: staying with one worker")
    os.kill(server.pid, signal.SIGUSR2)
    server.wait_for_line(level="error", message=f"{reason}: not starting a second server")
    wait_until("one worker", lambda: server.child_pids() == workers)
    assert server.call.get_json(VMS)["total"] == 0


def _listens(server: Gunicorn) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", server.port)) == 0
