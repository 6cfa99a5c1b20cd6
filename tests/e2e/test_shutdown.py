"""Signals to gunicorn: graceful stop, reload, restart, number of workers."""

import os
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack

from tests.support.http_client import read_response, send_request, wait_until
from tests.support.processes import Gunicorn

VMS = "/api/v1/vms"


def test_stop_waits_for_running_requests(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn(VMAPI_MEMORY_FAULTS="slow=2:0.8")
    server.start().wait_for("/livez")
    with ExitStack() as stack:
        idle, slow = server.call.connect(), server.call.connect()
        stack.callback(idle.close)
        stack.callback(slow.close)
        assert send_request(idle, "GET", "/livez").status == 200
        slow.request("GET", VMS)
        os.kill(server.pid, signal.SIGTERM)
        wait_until("a closed listener", lambda: not _listens(server))
        draining = send_request(idle, "GET", "/readyz")
        assert (draining.status, draining.json["status"]) == (503, "draining")
        assert draining.headers["Connection"] == "close"
        answer = read_response(slow)
        assert (answer.status, answer.json["total"]) == (200, 0)
    assert server.wait_for_exit() == 0
    assert server.wait_for_line(endpoint=f"GET {VMS}")["duration_ms"] >= 800


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
