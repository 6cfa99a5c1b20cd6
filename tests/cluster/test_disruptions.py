"""Disruptions of a cluster under load: no request is lost, and no VM is made twice."""

import time
from collections.abc import Callable

import pytest

from tests.support.cluster import Cluster
from tests.support.cluster_load import ClusterClients, check_exactly_once
from tests.support.http_client import wait_until

QUIET_SECONDS = 1.5
"""Seconds of load before and after a disruption."""

OUTAGE_SECONDS = 4.0

PAUSE_SECONDS = 15.0
"""Longer than a lease lasts, and than a request waits for PostgreSQL."""

Disruption = Callable[[Cluster], None]


def restart_everything(cluster: Cluster) -> None:
    for process in (*cluster.instances, *cluster.workers):
        cluster.restart(process)


def kill_instances(cluster: Cluster) -> None:
    for instance in cluster.instances:
        instance.kill()
        cluster.start_again(instance)


def kill_workers(cluster: Cluster) -> None:
    for worker in cluster.workers:
        worker.kill()
        cluster.start_again(worker)


def restart_postgresql(cluster: Cluster) -> None:
    cluster.database.kill()
    time.sleep(OUTAGE_SECONDS)
    cluster.database.start()


def restart_broker(cluster: Cluster) -> None:
    cluster.broker.kill()
    time.sleep(OUTAGE_SECONDS)
    cluster.broker.start()


def restart_redis(cluster: Cluster) -> None:
    cluster.redis.kill()
    time.sleep(OUTAGE_SECONDS)
    cluster.redis.start()


def flush_redis(cluster: Cluster) -> None:
    cluster.redis.flush()


def pause_postgresql(cluster: Cluster) -> None:
    with cluster.database.paused():
        time.sleep(PAUSE_SECONDS)
    for instance in cluster.instances:
        instance.wait_for("/readyz")


def cut_instance_off(cluster: Cluster) -> None:
    """Cut one instance off its database: it leaves the balance, and returns when it is ready."""
    instance = cluster.instances[1]
    cluster.database_proxy.shut()
    wait_until("unready", lambda: instance.call("GET", "/readyz").status == 503)
    time.sleep(OUTAGE_SECONDS)
    cluster.database_proxy.open()
    instance.wait_for("/readyz")


def promote_standby(cluster: Cluster) -> None:
    """Lose the primary for good. This is the last test of the cluster."""
    cluster.database.kill()
    time.sleep(OUTAGE_SECONDS)
    cluster.standby.promote()
    cluster.database_proxy.redirect(cluster.standby.port)


@pytest.mark.parametrize(
    "disrupt",
    [
        restart_everything,
        kill_instances,
        kill_workers,
        restart_postgresql,
        restart_broker,
        restart_redis,
        flush_redis,
        pause_postgresql,
        cut_instance_off,
        promote_standby,
    ],
    ids=lambda disrupt: disrupt.__name__,
)
def test_no_request_is_lost(cluster: Cluster, disrupt: Disruption) -> None:
    clients = ClusterClients(cluster.haproxy.port)
    began_at = time.monotonic()
    with clients.running() as report:
        time.sleep(QUIET_SECONDS)
        disrupt(cluster)
        time.sleep(QUIET_SECONDS)
    print(
        f"{disrupt.__name__}: {sum(report.responses.values())} requests, {dict(report.responses)}, "
        f"longest repeat {report.longest_repeat_seconds:.1f} s, {time.monotonic() - began_at:.0f} s"
    )
    check_exactly_once(cluster.nova, report)
