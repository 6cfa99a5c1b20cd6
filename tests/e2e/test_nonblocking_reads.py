"""Reads that are served again because they would wait: no client notices."""

from collections.abc import Callable

from tests.support.processes import Gunicorn

VMS = "/api/v1/vms"


def test_each_read_has_one_line_in_the_access_log(gunicorn: Callable[..., Gunicorn]) -> None:
    server = gunicorn()
    server.start().wait_for("/livez")
    for number in range(3):
        headers = {"X-Request-ID": f"read-{number}"}
        assert server.call("GET", VMS, headers=headers).status == 200
    server.stop()
    lines = [line for line in server.log_lines() if line["message"] == "request"]
    ids = [line["request_id"] for line in lines if line["endpoint"] == f"GET {VMS}"]
    assert ids == ["read-0", "read-1", "read-2"]
