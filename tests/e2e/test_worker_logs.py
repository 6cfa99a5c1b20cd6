"""The log of a worker with Celery: each line is a JSON object, also those of Celery."""

import json
from pathlib import Path

from tests.support.http_client import wait_until
from tests.support.processes import ServerProcess, free_port

SETTINGS = {
    "VMAPI_ENGINE": "celery",
    "VMAPI_BACKEND": "openstack",
    "OPENSTACK_USERNAME": "vmapi",
    "OPENSTACK_PASSWORD": "hunter2",
    "OPENSTACK_PROJECT": "web",
}


def test_every_line_of_a_celery_worker_is_a_json_object(
    tmp_path: Path, servers: list[ServerProcess]
) -> None:
    closed_port = free_port()
    settings = SETTINGS | {
        "VMAPI_BROKER_URL": f"amqp://vmapi:hunter3@127.0.0.1:{closed_port}//",
        "VMAPI_DATABASE_URL": f"sqlite:///{tmp_path}/vmapi.sqlite3",
        "OPENSTACK_AUTH_URL": f"http://127.0.0.1:{closed_port}/v3",
    }
    worker = ServerProcess(tmp_path, "worker")
    servers.append(worker)
    worker.spawn_python("vmapi", "worker", **settings)
    wait_until("the broker's error", lambda: "Cannot connect to amqp" in worker.read_log())
    wait_until("the cloud's error", lambda: "inventory sync failed" in worker.read_log())
    worker.process.terminate()
    worker.wait_for_exit()
    lines = [json.loads(line) for line in worker.read_log().splitlines()]
    assert all({"timestamp", "level", "logger", "message"} <= set(line) for line in lines)
    messages = [line["message"] for line in lines]
    assert "stamina.retry_scheduled" not in messages
    assert {line["reason"] for line in lines if line["message"] == "Celery message"} == {
        "worker: Warm shutdown (MainProcess)"
    }
    assert messages[-1] == "worker stopped"
    assert "hunter" not in worker.read_log()
