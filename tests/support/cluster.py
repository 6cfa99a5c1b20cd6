"""Two instances of vmapi and two workers behind HAProxy, with all their services on loopback."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

from tests.support.database_proxy import DatabaseProxy
from tests.support.gateways import Haproxy
from tests.support.live.postgresql import serve_postgresql
from tests.support.live.rabbitmq import serve_rabbitmq
from tests.support.processes import (
    FLASK_COMMAND,
    ROOT,
    Gunicorn,
    ServerProcess,
    build_environment,
    free_port,
    run_flask,
)
from tests.support.redis_server import RedisServer
from tests.support.stateful_nova import run_stateful_nova

ProcessT = TypeVar("ProcessT", bound=ServerProcess)


def python_path(code: Path) -> dict[str, str]:
    """Return the variable that selects the code of a process."""
    return {"PYTHONPATH": f"{code}:{code}/clients/python"}


class Instance(Gunicorn):
    """An instance of vmapi, with a separate log. `code` is the folder of its next start."""

    stop_timeout = 60.0

    def __init__(self, directory: Path, code: Path, **settings: str) -> None:
        super().__init__(directory, free_port(), **settings)
        self.code = code

    def start_process(self) -> None:
        """Start gunicorn with the present code."""
        config = self.code / "config/gunicorn.conf.py"
        self.settings |= python_path(self.code)
        self.start("-c", str(config), config=False)


class Worker(ServerProcess):
    """A worker process. `code` is the folder of its next start."""

    stop_timeout = 60.0

    def __init__(self, directory: Path, code: Path, **settings: str) -> None:
        super().__init__(directory, "worker")
        self.code, self._settings = code, settings

    def start_process(self) -> None:
        """Start the worker with the present code."""
        environment = build_environment(**self._settings, **python_path(self.code))
        self.spawn(*FLASK_COMMAND, "worker", env=environment)


class Cluster:
    """The processes of a deployment.

    PostgreSQL has a synchronous standby. The settings name both servers; the second instance uses
    an address that can move from one to the other.
    """

    def __init__(self, directory: Path, code: Path, stack: ExitStack) -> None:
        self._directory, self._code, self._stack = directory, code, stack
        self.database = stack.enter_context(serve_postgresql())
        self.standby = stack.enter_context(serve_postgresql(self.database))
        self.database.require_standby()
        hosts = "&".join(
            f"host=127.0.0.1:{server.port}" for server in (self.database, self.standby)
        )
        self._database_url = (
            f"postgresql+psycopg://postgres@/postgres?{hosts}&target_session_attrs=read-write"
        )
        self.broker = stack.enter_context(serve_rabbitmq())
        self.redis = self._add(RedisServer(self._folder("redis"))).start()
        cloud = run_stateful_nova(loses_responses=False)
        cloud_url, self.nova = stack.enter_context(cloud)
        self._settings = self._build_settings(cloud_url)
        self.upgrade_database(code)
        self.database_proxy = DatabaseProxy("127.0.0.1", self.database.port)
        stack.callback(self.database_proxy.close)
        proxied = self.database.url.replace(str(self.database.port), str(self.database_proxy.port))
        self.instances = [self._new_instance("api1"), self._new_instance("api2", proxied)]
        self.workers = [self._new_worker(name) for name in ("worker1", "worker2")]
        self.haproxy = self._add(
            Haproxy(self._folder("haproxy"), *(instance.port for instance in self.instances))
        )

    def start(self) -> "Cluster":
        """Start all processes, and wait until HAProxy serves both instances."""
        for process in (*self.instances, *self.workers):
            process.start_process()
        for instance in self.instances:
            instance.wait_for("/readyz")
        self.haproxy.start().wait_for("/readyz")
        return self

    def upgrade_database(self, code: Path) -> None:
        """Upgrade the database to the revision of the code in a folder."""
        run_flask(self._directory, self._settings | python_path(code), "db", "upgrade")

    def restart(self, process: Instance | Worker) -> None:
        """Stop a process with SIGTERM, and start it again."""
        process.stop()
        self.start_again(process)

    def start_again(self, process: Instance | Worker) -> None:
        """Start a process, and wait until it serves."""
        process.start_process()
        if isinstance(process, Instance):
            process.wait_for("/readyz")

    def _build_settings(self, cloud_url: str) -> dict[str, str]:
        return {
            "OPENSTACK_AUTH_URL": f"{cloud_url}/identity/v3",
            "OPENSTACK_USERNAME": "cluster",
            "OPENSTACK_PASSWORD": "something",
            "OPENSTACK_PROJECT": "cluster",
            "VMAPI_AUTH": "none",
            "VMAPI_BACKEND": "openstack",
            "VMAPI_BACKEND_TIMEOUT": "5",
            "VMAPI_BROKER_URL": self.broker.url,
            "VMAPI_DATABASE_URL": self._database_url,
            "VMAPI_ENGINE": "celery",
            "VMAPI_PROXIES": "1",
            "VMAPI_RATE_ADDRESS": "100000/second",
            "VMAPI_RATE_CHANGES": "100000/second",
            "VMAPI_RATE_READS": "100000/second",
            "VMAPI_RATE_STORAGE": self.redis.url,
            "VMAPI_WORKERS": "1",
        }

    def _new_instance(self, name: str, database_url: str | None = None) -> Instance:
        settings = dict(self._settings)
        if database_url:
            settings["VMAPI_DATABASE_URL"] = database_url
        return self._add(Instance(self._folder(name), self._code, **settings))

    def _new_worker(self, name: str) -> Worker:
        return self._add(Worker(self._folder(name), self._code, **self._settings))

    def _add(self, process: ProcessT) -> ProcessT:
        self._stack.callback(process.stop)
        return process

    def _folder(self, name: str) -> Path:
        folder = self._directory / name
        folder.mkdir()
        return folder


@contextmanager
def run_cluster(directory: Path, code: Path = ROOT) -> Iterator[Cluster]:
    """Run a cluster of the code in a folder during the block."""
    with ExitStack() as stack:
        yield Cluster(directory, code, stack).start()
