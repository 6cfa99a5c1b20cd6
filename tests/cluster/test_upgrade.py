"""A cluster of the version before is upgraded under load, process by process, with its data."""

import time
from pathlib import Path

import pytest

from tests.support.cluster import run_cluster
from tests.support.cluster_load import NEW_VM, ClusterClients, check_exactly_once
from tests.support.http_client import HttpClient
from tests.support.previous_version import extract_previous_version
from tests.support.processes import ROOT

QUIET_SECONDS = 1.5
"""Seconds of load before and after the upgrade."""

KEY = {"Idempotency-Key": "before-the-upgrade"}


@pytest.mark.usefixtures("cluster_programs")
def test_no_request_is_lost_during_a_rolling_upgrade(tmp_path: Path) -> None:
    previous = tmp_path / "previous"
    commit = extract_previous_version(previous)
    with run_cluster(tmp_path, previous) as cluster:
        call, clients = HttpClient(cluster.haproxy.port), ClusterClients(cluster.haproxy.port)
        body = {"name": "before-the-upgrade", **NEW_VM}
        headers = {"Prefer": "wait=20", **KEY}
        vm = call("POST", "/api/v1/vms", body, headers=headers)
        assert vm.status == 201, vm
        with clients.running() as report:
            time.sleep(QUIET_SECONDS)
            cluster.upgrade_database(ROOT)
            for process in (*cluster.workers, *cluster.instances):
                process.code = ROOT
                cluster.restart(process)
                time.sleep(QUIET_SECONDS)
        print(
            f"upgrade from {commit}: {sum(report.responses.values())} requests, "
            f"{dict(report.responses)}, longest repeat {report.longest_repeat_seconds:.1f} s"
        )
        repeat = call("POST", "/api/v1/vms", body, headers=headers)
        assert (repeat.status, repeat.headers["Idempotent-Replayed"]) == (201, "true")
        assert repeat.json["id"] == vm.json["id"]
        deleted = call("DELETE", f"/api/v1/vms/{vm.json['id']}", headers={"Prefer": "wait=20"})
        assert deleted.status == 204
        check_exactly_once(cluster.nova, report)
