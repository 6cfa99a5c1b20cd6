"""A server with a lost SQLite file: 503, one line in the log, and back with the file."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.http_client import wait_until
from tests.support.processes import Gunicorn

pytestmark = pytest.mark.disruption

CREATE_BODY = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}


def outage_lines(server: Gunicorn) -> list[str]:
    messages = [line["message"] for line in server.log_lines()]
    return [message for message in messages if message.startswith("database ")]


def test_lost_database_file_is_unavailable_until_it_is_back(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    path = tmp_path / "data" / "vmapi.sqlite3"
    server = gunicorn(VMAPI_DATABASE_URL=f"sqlite:///{path}")
    server.start().wait_for("/readyz")
    assert server.call("POST", "/api/v1/vms", CREATE_BODY).status == 201
    elsewhere = path.rename(tmp_path / "elsewhere.sqlite3")
    for _ in range(3):
        response = server.call("POST", "/api/v1/vms", {**CREATE_BODY, "name": "web-2"})
        assert (response.status, response.json["code"]) == (503, "store_unavailable")
    wait_until("not ready", lambda: server.call("GET", "/readyz").status == 503)
    assert str(path) in server.wait_for_line(message="database unavailable")["reason"]
    elsewhere.rename(path)
    wait_until("ready", lambda: server.call("GET", "/readyz").status == 200)
    server.wait_for_line(message="database available again")
    assert outage_lines(server) == ["database unavailable", "database available again"]
    assert server.call("POST", "/api/v1/vms", CREATE_BODY).json["code"] == "name_taken"


def test_database_folder_that_cannot_be_made_is_unavailable(
    gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    server = gunicorn(VMAPI_DATABASE_URL=f"sqlite:///{tmp_path}/file/vmapi.sqlite3")
    server.start().wait_for("/livez")
    assert server.call("GET", "/readyz").status == 503
    assert server.call("GET", "/api/v1/operations").json["code"] == "store_unavailable"
    server.wait_for_line(message="database unavailable", level="warning")
    assert outage_lines(server) == ["database unavailable"]
