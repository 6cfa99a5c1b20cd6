"""Configuration of gunicorn, for `vmapi serve` and for `config/gunicorn.conf.py`.

The settings of vmapi (docs/reference/settings.md) supply address, processes and threads. Errors in
them stop the start before a socket is bound.
"""

import gc
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from vmapi.backends import registry
from vmapi.errors import SettingsError, StoreUnavailable
from vmapi.server import open_files
from vmapi.settings import checks
from vmapi.settings.settings import STARTED_SERVER, Settings
from vmapi.telemetry.tracing import exporting as tracing
from vmapi.telemetry.tracing.tracer import TRACER
from vmapi.telemetry.uncaught import log_uncaught_errors

if TYPE_CHECKING:
    from vmapi.server.worker_metrics import WorkerMetrics

REFUSED_START_STATUS = 3
"""The exit status of a start that is refused, as of the commands."""


def refuse_start(reason: str) -> NoReturn:
    """Print why the server does not start, and exit."""
    print(f"vmapi does not start: {reason}", file=sys.stderr)
    sys.exit(REFUSED_START_STATUS)


try:
    settings = Settings.load()
    backend = registry.create_backend(settings)
    checks.validate(settings, single_process=backend.single_process)
    tracing.check()
except SettingsError as error:
    refuse_start(error.detail)

# a reload, and a worker that replaces a dead one, read only the secrets again
STARTED_SERVER.settings = settings

bind = settings.bind
workers = settings.workers or int(os.environ.get("WEB_CONCURRENCY") or settings.worker_count)
# more than wait for a dependency that hangs
threads = settings.request_threads
worker_class = "vmapi.server.worker.GunicornWorker"
# without an open file for the next connection, a worker would serve no client
worker_connections = open_files.fit_connections(
    open_files.raise_limit(), threads, settings.event_streams
)
# seconds; gunicorn kills a worker only if its main loop hangs, not if the cloud is slow
timeout = 60
# longer than a call to the cloud may take, so that a stop waits for every response
graceful_timeout = int(settings.backend_timeout) + 15
# longer than keepalive_timeout of the upstream in nginx.conf: nginx closes connections first
keepalive = 75
# the longest request line that nginx accepts
limit_request_line = 8190
forwarded_allow_ips = "127.0.0.1,::1"
control_socket_disable = True
# the worker writes responses without waiting for the client
sendfile = False
# the app logs each request
accesslog: str | None = None
logger_class = "vmapi.server.logger.GunicornLogger"

ONE_PROCESS = f"the {settings.backend} cloud lives in the memory of one process"


def on_starting(server: Any) -> None:
    """Exit if the settings contradict each other, or if the address or the file is in use."""
    # the workers inherit the hooks
    log_uncaught_errors()
    if server.cfg.is_ssl:
        refuse_start("TLS needs a proxy, see docs/how-to/nginx.md")
    if backend.single_process and server.cfg.workers > 1:
        refuse_start(
            f"{server.cfg.workers} workers, but {ONE_PROCESS}; "
            "use 1 worker (VMAPI_WORKERS, WEB_CONCURRENCY, -w), or VMAPI_BACKEND=openstack"
        )
    if server.master_pid == 0 and "LISTEN_FDS" not in os.environ:
        for address in server.cfg.address:
            check_free(address)
    if backend.single_process and settings.database_url:
        claim_database(settings.database_url)
    # of the server: a reload keeps the metrics
    server.metrics = open_metrics(replaces_server=server.master_pid != 0)


def claim_database(url: str) -> None:
    """Exit if another server uses a SQLite file. The workers inherit the claim."""
    # the import of SQLAlchemy takes tenths of a second
    from vmapi.store.connections.claims import claim

    try:
        claim(url)
    except StoreUnavailable as error:
        refuse_start(error.reason)


def open_metrics(*, replaces_server: bool) -> "WorkerMetrics | None":
    """Open the address of the metrics; return None if the settings name none."""
    if settings.metrics_bind is None:
        return None
    # loaded only where it is asked for
    from vmapi.server.worker_metrics import WorkerMetrics

    try:
        return WorkerMetrics(settings, replaces_server=replaces_server)
    except SettingsError as error:
        refuse_start(error.detail)


def check_free(address: Any) -> None:
    """Exit if another server listens at an address.

    gunicorn would take over a unix socket that is in use.
    """
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    if isinstance(address, tuple) and ":" in address[0]:
        family = socket.AF_INET6
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if family != socket.AF_UNIX:
                probe.bind(address)
            elif probe.connect_ex(address) == 0:
                raise OSError("another server answers there")
            else:
                check_socket_path(Path(address))
        except OSError as error:
            text = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
            reason = error.strerror or error
            refuse_start(f"cannot serve at {text} (VMAPI_BIND): {reason}")


def check_socket_path(path: Path) -> None:
    """Raise OSError unless gunicorn can create a unix socket, or replace that of a dead server."""
    if path.exists() and not path.is_socket():
        raise OSError("the file is not a socket")
    if not path.parent.is_dir():
        raise OSError("the folder does not exist")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise OSError("the folder cannot be written")


def nworkers_changed(server: Any, new_value: int, old_value: int | None) -> None:
    """Refuse a second process (SIGTTIN) for a cloud in the memory of one process."""
    if old_value is not None and backend.single_process and new_value > 1:
        server.log.error(f"{ONE_PROCESS}: staying with one worker")
        server.num_workers = 1


def pre_exec(server: Any) -> None:
    """Refuse a second server (SIGUSR2) for a cloud in the memory of one process."""
    if backend.single_process:
        server.log.error(f"{ONE_PROCESS}: not starting a second server")
        os._exit(1)


def pre_fork(server: Any, worker: Any) -> None:
    """Reserve the files for the metrics of a worker."""
    if server.metrics:
        server.metrics.assign_slot(worker)


def post_fork(server: Any, worker: Any) -> None:
    """Disable garbage collection while the app is loaded; `post_worker_init` enables it."""
    gc.disable()
    worker.metrics = server.metrics
    if server.metrics:
        server.metrics.enable(worker)
    tracing.start()


def post_worker_init(worker: Any) -> None:
    """Start the engine and the metrics, limit the streams, and log that the worker is ready."""
    services = worker.wsgi.extensions["vmapi"]
    if worker.metrics:
        worker.metrics.serve(services)
    services.events.slots.limit(open_files.max_streams(worker.cfg.worker_connections))
    # the engine takes over the unfinished operations of processes that died
    services.engine.notify()
    gc.freeze()
    gc.enable()
    where = ", ".join(str(listener) for listener in worker.sockets)
    worker.log.info(f"ready at {where}, the docs page is at /docs")


def child_exit(server: Any, worker: Any) -> None:
    """Release the files of a dead worker for the next one."""
    if server.metrics:
        server.metrics.release_slot(worker)


def on_exit(server: Any) -> None:
    """Remove the files of the metrics."""
    if server.metrics:
        server.metrics.close()


def worker_exit(server: Any, worker: Any) -> None:  # noqa: ARG001
    """Stop the engine after its current step, and close all connections."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        services = app.extensions["vmapi"]
        services.operations.stop()
        services.engine.stop()
        services.backend.close()
        services.rate_limiter.close()
        services.store.close()
    if metrics := getattr(worker, "metrics", None):
        metrics.stop()
    TRACER.stop()
