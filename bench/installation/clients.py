"""Clients that change and read VMs at the same time."""

import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from bench.client import OPERATIONS, VMS, JsonClient, RequestFailed, connect

VM = {"flavor": "m1.tiny", "image": "cirros", "start": True}
SETTLE_SECONDS = 120.0
POLL_SECONDS = 0.05
RETRY_SECONDS = 1.0
REPEATABLE = (429, 502, 503, 504)
"""Statuses after which a client repeats a change with its key."""


def run_clients(number: int, seconds: float, run: Callable[[JsonClient], int], url: str) -> int:
    """Run a function again and again in a number of threads; return the sum of its results."""
    deadline = time.monotonic() + seconds

    def repeat(_: int) -> int:
        total = 0
        with connect(url) as client:
            while time.monotonic() < deadline:
                total += run(client)
        return total

    with ThreadPoolExecutor(number) as pool:
        return sum(pool.map(repeat, range(number)))


def run_lifecycle(client: JsonClient) -> int:
    """Create, stop, start and delete a VM; return the number of changes."""
    vm_id = create_vm(client)
    for action in ("stop", "start"):
        change(client, "POST", f"{VMS}/{vm_id}/{action}")
    change(client, "DELETE", f"{VMS}/{vm_id}")
    return 4


def create_vm(client: JsonClient) -> str:
    """Create a VM, wait until it runs, and return its id."""
    return str(change(client, "POST", VMS, {**VM, "name": f"load-{uuid.uuid4()}"})["vm_id"])


def change(client: JsonClient, method: str, path: str, body: object = None) -> dict[str, object]:
    """Send a change with a key, wait for its operation, and return it.

    Raises RuntimeError if the operation fails.
    """
    key = str(uuid.uuid4())
    headers = {"Idempotency-Key": key, "X-Request-ID": key, "Prefer": "wait=30"}
    deadline = time.monotonic() + SETTLE_SECONDS
    while not is_accepted(client, method, path, body, headers) and time.monotonic() < deadline:
        time.sleep(RETRY_SECONDS)
    while time.monotonic() < deadline:
        (operation,) = client.call("GET", f"{OPERATIONS}?request_id={key}")["items"]
        if operation["finished_at"]:
            if operation["status"] != "succeeded":
                raise RuntimeError(f"{method} {path}: {operation}")
            return dict(operation)
        time.sleep(POLL_SECONDS)
    raise RuntimeError(f"{method} {path}: not finished after {SETTLE_SECONDS:.0f} s")


def is_accepted(
    client: JsonClient, method: str, path: str, body: object, headers: dict[str, str]
) -> bool:
    """Send a change; return whether it is accepted, or has to be repeated. Raises RequestFailed."""
    try:
        client.call(method, path, body, **headers)
    except RequestFailed as error:
        if error.status not in REPEATABLE:
            raise
        return False
    return True


def read_vms(paths: list[str]) -> Callable[[JsonClient], int]:
    """Return a function that reads one VM after the other; each call is one read."""
    following = itertools.cycle(paths)
    lock = threading.Lock()

    def read(client: JsonClient) -> int:
        with lock:
            path = next(following)
        client.call("GET", path)
        return 1

    return read


@contextmanager
def created_vms(url: str, number: int) -> Iterator[list[str]]:
    """Create VMs for the block; yield their paths."""
    with connect(url) as client:
        paths = [f"{VMS}/{create_vm(client)}" for _ in range(number)]
        yield paths
        for path in paths:
            change(client, "DELETE", path)
