"""An unreachable database: 503, nothing is sent, and recovery afterwards."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import create_engine, make_url, text

from tests.support.api_harness import CREATE_BODY, ApiHarness
from tests.support.blocking_source import wait_until
from tests.support.database_proxy import DatabaseProxy
from tests.support.databases import new_postgresql
from tests.support.fake_clock import Clock
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.bootstrap import bootstrap
from vmapi.domain.lifecycle import Verb
from vmapi.settings.settings import Settings
from vmapi.store.connections import answer_timeout, engine_setup


def check_unavailable(harness: ApiHarness, vm_id: str) -> None:
    """Check that every request gets 503 and changes nothing."""
    before = harness.backend.list_vms()
    for method, path in [
        ("POST", "/vms"),
        ("POST", f"/vms/{vm_id}/stop"),
        ("DELETE", f"/vms/{vm_id}"),
    ]:
        response = harness.call(method, path, **({"json": CREATE_BODY} if path == "/vms" else {}))
        assert (response.status_code, response.json["code"]) == (503, "store_unavailable")
        assert response.headers["Retry-After"] == "5"
    assert harness.backend.list_vms() == before


def check_available(harness: ApiHarness, vm_id: str) -> None:
    wait_until(lambda: harness.client.get("/readyz").status_code == 200)
    assert harness.post_action(vm_id, "stop").status_code == 200
    assert harness.create("web-9")["status"] == "STOPPED"


def test_locked_sqlite_is_503(monkeypatch: pytest.MonkeyPatch, harness: ApiHarness) -> None:
    vm_id = harness.create_running("web-2")
    store: Any = harness.services.store
    engine = store.database.engine
    url = engine.url
    hog = create_engine(url)
    with hog.connect() as connection:
        connection.exec_driver_sql("BEGIN EXCLUSIVE")
        # open connections have the lock timeout of their creation
        engine.dispose()
        with monkeypatch.context() as patched:
            patched.setattr(engine_setup, "LOCK_TIMEOUT", 0.2)
            impatient = bootstrap(postgresql_settings(url), harness.backend, harness.clock)
            impatient.engine.stop()
            services = harness.app.extensions["vmapi"]
            harness.app.extensions["vmapi"] = impatient
            check_unavailable(harness, vm_id)
            connection.rollback()
            check_available(harness, vm_id)
            harness.app.extensions["vmapi"] = services
            impatient.store.close()
    hog.dispose()


def postgresql_settings(url: Any) -> Settings:
    full_url = make_url(url).render_as_string(hide_password=False)
    return Settings(log_level="CRITICAL", database_url=full_url)


@pytest.fixture
def proxy() -> Iterator[tuple[DatabaseProxy, str]]:
    with ExitStack() as stack:
        url = make_url(stack.enter_context(new_postgresql()))
        assert url.host is not None
        proxy = DatabaseProxy(url.host, url.port or 5432)
        stack.callback(proxy.close)
        behind = url.set(host="127.0.0.1", port=proxy.port)
        yield proxy, behind.render_as_string(hide_password=False)


@pytest.fixture
def postgresql(
    shell: Flask, proxy: tuple[DatabaseProxy, str], backend: MemoryBackend, clock: Clock
) -> Iterator[ApiHarness]:
    """The app on an unmigrated PostgreSQL behind the proxy."""
    services = bootstrap(Settings(log_level="CRITICAL", database_url=proxy[1]), backend, clock)
    services.engine.stop()
    shell.extensions["vmapi"] = services
    yield ApiHarness(shell, backend, clock)
    services.store.close()


def test_restarted_postgresql_is_503_then_works(
    postgresql: ApiHarness, proxy: tuple[DatabaseProxy, str]
) -> None:
    harness = postgresql
    harness.services.store.upgrade()
    vm_id = harness.create_running("web-2")
    proxy[0].shut()
    check_unavailable(harness, vm_id)
    response = harness.client.get("/readyz")
    assert response.json is not None
    assert (response.status_code, response.json["dependencies"]["store"]) == (
        503,
        "store_unavailable",
    )
    proxy[0].open()
    check_available(harness, vm_id)


@pytest.mark.parametrize("idle_seconds", [0.0, 60.0])
def test_postgresql_that_stops_answering_is_503(
    postgresql: ApiHarness,
    proxy: tuple[DatabaseProxy, str],
    monkeypatch: pytest.MonkeyPatch,
    idle_seconds: float,
) -> None:
    harness = postgresql
    harness.services.store.upgrade()
    vm_id = harness.create_running("web-2")
    # with and without the ping of an idle connection
    monkeypatch.setattr(engine_setup, "PING_AFTER_IDLE", 60.0 - idle_seconds)
    harness.get_vm(vm_id)
    proxy[0].silence()
    with monkeypatch.context() as patched:
        patched.setattr(answer_timeout, "REQUEST_ANSWER_TIMEOUT", 0.1)
        patched.setattr(engine_setup, "PING_TIMEOUT", 0.1)
        check_unavailable(harness, vm_id)
    proxy[0].resume()
    check_available(harness, vm_id)


def test_unmigrated_postgresql_is_503(postgresql: ApiHarness) -> None:
    harness = postgresql
    response = harness.call("POST", "/vms", json=CREATE_BODY)
    assert (response.status_code, response.json["code"]) == (503, "store_unavailable")
    assert response.json["detail"].endswith("is needed: vmapi db upgrade")
    harness.services.store.upgrade()
    assert harness.create()["status"] == "STOPPED"


def test_operation_survives_postgresql_outage(
    postgresql: ApiHarness, proxy: tuple[DatabaseProxy, str]
) -> None:
    harness = postgresql
    harness.services.store.upgrade()
    harness.backend.set_latency(Verb.STOP, 9.0)
    vm_id = harness.create_running("web-2")
    response = harness.post_action(vm_id, "stop")
    (operation,) = harness.services.operations.list_leased()
    harness.clock.sleep(9)
    proxy[0].shut()
    for _ in range(2):
        with pytest.raises(Exception, match="vmapi's database does not answer"):
            harness.services.operations.reconcile(operation)
    proxy[0].open()
    harness.run_until_settled()
    assert harness.get_operation(response)["status"] == "succeeded"
    assert harness.get_vm(vm_id)["status"] == "STOPPED"


def test_cut_connections_are_replaced(postgresql: ApiHarness) -> None:
    harness = postgresql
    harness.services.store.upgrade()
    vm_id = harness.create_running("web-2")
    database: Any = harness.services.store
    with database.database.engine.connect() as connection:
        others = "FROM pg_stat_activity WHERE datname = current_database()"
        others += " AND pid <> pg_backend_pid()"
        connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))
    check_available(harness, vm_id)
