"""The kill test of a client: its changes, while processes of vmapi are killed.

`make killtest` runs the long form.
"""

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tests.support.graphql_kill_test import open_graphql
from tests.support.kill_test import KillPlan, Life, check_report, run_kill_test
from vmapi_client import Client
from vmapi_client.models import VM

CLIENT_TIMEOUT_SECONDS = 300.0


@contextmanager
def open_library(url: str) -> Iterator[Life]:
    """Open the client of the library."""
    with Client(url, timeout=CLIENT_TIMEOUT_SECONDS) as client:
        yield partial(live_through, client)


def live_through(client: Client, name: str) -> None:
    """Take a VM through its life with waiting changes."""
    vm: VM = client.vms.create(name, flavor="m1.tiny", image="cirros", wait=True)
    assert vm.status == "STOPPED", vm
    assert client.vms.start(vm, wait=True).status == "RUNNING"
    assert client.vms.stop(vm, wait=True).status == "STOPPED"
    client.vms.delete(vm, wait=True)


CLIENTS = {"library": open_library, "graphql": open_graphql}


def main() -> None:
    """Run the kill test with the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--creates", type=int, default=200)
    parser.add_argument("--client", choices=CLIENTS, default="library")
    parser.add_argument("--engine-workers", type=int, default=0)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="vmapi-client-kill-"))
    print(f"the log is {folder}/log", flush=True)
    plan = KillPlan(arguments.creates, (2.0, 8.0), arguments.engine_workers)
    report = run_kill_test(plan, folder, CLIENTS[arguments.client])
    print(f"{report.kills} kills, {report.lost_responses} responses of Nova lost")
    print("operations:", dict(report.operations))
    check_report(report)
    print("one server a name, none left")


if __name__ == "__main__":
    main()
