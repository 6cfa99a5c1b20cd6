"""PostgreSQL that hangs: requests are 503, and streams and workers go on afterwards."""

import time
import uuid
from pathlib import Path

from tests.support.cluster import Cluster
from tests.support.cluster_load import NEW_VM, ClusterClients
from tests.support.event_listener import ListenerScript
from tests.support.http_client import wait_until

PAUSE_SECONDS = 15.0


def test_event_stream_and_workers_go_on_after_a_pause_of_postgresql(
    cluster: Cluster, tmp_path: Path
) -> None:
    listener = ListenerScript(tmp_path / "events")
    listener.start(cluster.haproxy.port)
    clients = ClusterClients(cluster.haproxy.port)
    (call,) = [instance.call for instance in cluster.instances[:1]]
    try:
        before = clients.send("POST", "/vms", {"name": f"a-{uuid.uuid4().hex}", **NEW_VM}).json
        started = clients.send("POST", f"/vms/{before['id']}/start").json
        assert started["status"] == "RUNNING"
        wait_until("events", lambda: before["id"] in vm_ids(listener))
        body = {"name": f"b-{uuid.uuid4().hex}", **NEW_VM}
        with cluster.database.paused():
            problem = call("POST", "/api/v1/vms", body).check_problem(503, "store_unavailable")
            wait_until("unready", lambda: call("GET", "/readyz").status == 503)
            assert call("GET", "/livez").status == 200
            time.sleep(PAUSE_SECONDS)
        assert problem["detail"] == "vmapi's database does not answer."
        for instance in cluster.instances:
            instance.wait_for("/readyz")
        after = clients.send("POST", "/vms", body).json
        for vm in (before, after):
            clients.send("DELETE", f"/vms/{vm['id']}")
        wait_until("events", lambda: after["id"] in vm_ids(listener))
        ids = [event["id"] for event in listener.received_events() if event["id"]]
        assert len(ids) == len(set(ids))
    finally:
        listener.kill()
    assert (clients.report.foreign, clients.report.cut) == ([], [])


def vm_ids(listener: ListenerScript) -> set[str]:
    """Return the VMs of the events."""
    return {event["vm_id"] for event in listener.received_events() if event.get("vm_id")}
