"""Configuration of gunicorn: `gunicorn -c config/gunicorn.conf.py wsgi:app`.

The settings of vmapi (docs/reference/settings.md) supply address, processes and threads. Errors in
them stop the start before a socket is bound.
"""

import gc
import os
import socket
import sys

from vmapi.backends import registry
from vmapi.errors import SettingsError
from vmapi.server import open_files
from vmapi.settings import checks
from vmapi.settings.settings import Settings

try:
    settings = Settings.load()
    backend = registry.create_backend(settings)
    checks.validate(settings, single_process=backend.single_process)
except SettingsError as error:
    sys.exit(f"vmapi does not start: {error.detail}")

bind = settings.bind
workers = settings.workers or int(os.environ.get("WEB_CONCURRENCY") or settings.worker_count)
# more than wait for a dependency that hangs
threads = settings.request_threads
worker_class = "vmapi.server.worker.GunicornWorker"
# a worker that cannot accept a connection for lack of open files would serve nobody
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
accesslog = None
logger_class = "vmapi.server.logger.GunicornLogger"

ONE_PROCESS = f"the {settings.backend} cloud lives in the memory of one process"


def on_starting(server):
    """Exit if the settings contradict each other, or if the address is in use."""
    if server.cfg.is_ssl:
        sys.exit("vmapi does not start: TLS needs a proxy, see docs/how-to/nginx.md")
    if backend.single_process and server.cfg.workers > 1:
        sys.exit(
            f"vmapi does not start: {server.cfg.workers} workers, but {ONE_PROCESS}; "
            "use 1 worker (VMAPI_WORKERS, WEB_CONCURRENCY, -w), or VMAPI_BACKEND=openstack"
        )
    if server.master_pid == 0 and "LISTEN_FDS" not in os.environ:
        for address in server.cfg.address:
            check_free(address)


def check_free(address):
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
        except OSError as error:
            text = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
            reason = error.strerror or error
            sys.exit(f"vmapi does not start: cannot serve at {text} (VMAPI_BIND): {reason}")


def nworkers_changed(server, new_value, old_value):
    """Refuse a second process (SIGTTIN) for a cloud in the memory of one process."""
    if old_value is not None and backend.single_process and new_value > 1:
        server.log.error(f"{ONE_PROCESS}: staying with one worker")
        server.num_workers = 1


def pre_exec(server):
    """Refuse a second server (SIGUSR2) for a cloud in the memory of one process."""
    if backend.single_process:
        server.log.error(f"{ONE_PROCESS}: not starting a second server")
        os._exit(1)


def post_fork(server, worker):  # noqa: ARG001
    """Disable garbage collection while the app is loaded; `post_worker_init` enables it."""
    gc.disable()


def post_worker_init(worker):
    """Start the engine, limit the streams, and log that the worker serves requests."""
    services = worker.wsgi.extensions["vmapi"]
    services.events.slots.limit(open_files.max_streams(worker.cfg.worker_connections))
    # the engine takes over the unfinished operations of processes that died
    services.engine.notify()
    gc.freeze()
    gc.enable()
    where = ", ".join(str(listener) for listener in worker.sockets)
    worker.log.info(f"ready at {where}, the docs page is at /docs")


def worker_exit(server, worker):  # noqa: ARG001
    """Stop the engine after its current step, and close all connections."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        services = app.extensions["vmapi"]
        services.operations.stop()
        services.engine.stop()
        services.backend.close()
        services.rate_limiter.close()
        services.store.close()
