"""The kill test: clients that repeat, processes that die, a cloud that goes away and comes back.

`make torture`, or `python -m tests.live.torture --creates 200 --engine celery`. In the end every
idempotency key has exactly one server in Nova, and every operation is over and says what happened.
"""

import argparse
import json
import random
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import openstack

from tests.live.fleet import Fleet
from tests.live.service import killed

CLIENTS = 6
PATIENCE = 400.0
"""Seconds after which a client that repeats gives up: longer than anything is allowed to take."""


@dataclass
class Client:
    """Repeats each change under its key until it has an answer that is one."""

    url: str
    answers: Counter[str] = field(default_factory=Counter)

    def change(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Return the final answer: of a change that is over."""
        key, end = str(uuid.uuid4()), time.monotonic() + PATIENCE
        while time.monotonic() < end:
            status, answer = self.send(method, path, body, key)
            code = answer.get("code", "") if answer else ""
            self.answers[f"{status} {code}".strip()] += 1
            if status in (200, 201, 204) or (400 <= status < 500 and not _passes(status, code)):
                return status, answer
            time.sleep(random.uniform(0.2, 1.0))
        raise AssertionError(f"{method} {path} has no end: {dict(self.answers)}")

    def send(self, method: str, path: str, body: Any, key: str) -> tuple[int, Any]:
        """Send a request once; 0 is no answer at all."""
        headers = {"Idempotency-Key": key, "Prefer": "wait=10", "Content-Type": "application/json"}
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(
            f"{self.url}/api/v1{path}", data=data, headers=headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else {}
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read() or b"{}")
        except (OSError, ValueError):
            return 0, {}


def _passes(status: int, code: str) -> bool:
    return code in ("task_in_progress", "idempotency_in_progress", "name_taken") or status == 429


def life(client: Client, name: str) -> tuple[str, str]:
    """Make a VM, start and stop it, delete every other one; return its name and how it went."""
    wanted = {"name": name, "flavor": "m1.tiny", "image": "debian-12", "network": "private"}
    status, vm = client.change("POST", "/vms", wanted)
    assert status == 201, (status, vm)
    path = f"/vms/{vm['id']}"
    for action, goal in (("start", "RUNNING"), ("stop", "STOPPED")):
        status, seen = client.change("POST", f"{path}/{action}")
        assert (status, seen.get("status")) == (200, goal), (name, action, status, seen)
    if random.random() < 0.5:
        status, seen = client.change("DELETE", path)
        assert status == 204, (name, status, seen)
        return name, "deleted"
    return name, "kept"


def harass(fleet: Fleet, over: threading.Event) -> None:
    """Kill a process every few seconds, and Nova's API now and then."""
    rounds = 0
    while not over.wait(random.uniform(1.0, 4.0)):
        fleet.kill_one()
        rounds += 1
        if rounds % 8 == 0:
            with killed("nova-api"):
                over.wait(3)


def torture(fleet: Fleet, creates: int, disturb: Callable[[], object] = lambda: None) -> None:
    """Run it, and hold Nova and the operations against what the clients were told."""
    run, over, client = f"tort-{uuid.uuid4().hex[:6]}", threading.Event(), Client(fleet.url)
    killer = threading.Thread(target=harass, args=(fleet, over))
    try:
        fleet.start()
        killer.start()
        with ThreadPoolExecutor(CLIENTS) as pool:
            names = [f"{run}-{number}" for number in range(creates)]
            lives = [pool.submit(life, client, name) for name in names]
            disturb()
            told = dict(each.result() for each in lives)
        over.set()
        killer.join()
        check(run, told, fleet)
        print(f"{creates} creates, {fleet.killed} processes killed: one server a key")
        print(dict(client.answers))
    finally:
        over.set()
        clean(run)
        fleet.stop()


def check(run: str, told: dict[str, str], fleet: Fleet) -> None:
    """See that every name has one server in Nova, deleted or not, and every operation an end."""
    admin = openstack.connect(cloud="devcloud-admin")
    asked = {"all_tenants": True, "name": run}
    live = admin.compute.get("/servers/detail", params=asked).json()["servers"]
    gone = admin.compute.get("/servers/detail", params={**asked, "deleted": True}).json()["servers"]
    admin.close()
    found = Counter(server["name"] for server in (*live, *gone))
    assert found == dict.fromkeys(told, 1), found
    assert {server["name"] for server in gone} == {n for n, end in told.items() if end == "deleted"}
    client, page = Client(fleet.url), 1
    while True:
        path = f"/operations?page_size=1000&page={page}"
        _, answer = client.send("GET", path, None, "-")
        states = Counter(operation["status"] for operation in answer["items"])
        assert set(states) <= {"succeeded", "failed"}, states
        if answer["next"] is None:
            return
        page += 1


def clean(run: str) -> None:
    """Delete what is left."""
    with openstack.connect(cloud="devcloud") as cloud:
        for server in cloud.compute.servers(name=run):
            cloud.compute.delete_server(server, ignore_missing=True)


def main() -> None:
    """Run the whole of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creates", type=int, default=200)
    parser.add_argument("--engine", choices=("thread", "worker", "celery"), default="thread")
    parser.add_argument("--database", default="")
    parser.add_argument("--broker", default="amqp://openstack:devcloud@127.0.0.1:5672//")
    parser.add_argument("--port", type=int, default=8190)
    asked = parser.parse_args()
    place = Path(mkdtemp(prefix="vmapi-torture-"))
    settings = {
        "VMAPI_BACKEND": "openstack",
        "VMAPI_BACKEND_TIMEOUT": "10",
        "VMAPI_ENGINE": asked.engine,
        "VMAPI_BROKER_URL": asked.broker,
        "VMAPI_DATABASE_URL": asked.database or f"sqlite:///{place}/vmapi.sqlite3",
    }
    workers = 0 if asked.engine == "thread" else 2
    print(f"the log is {place}/log")
    torture(Fleet(asked.port, settings, workers, place / "log"), asked.creates)


if __name__ == "__main__":
    main()
