"""How gunicorn serves vmapi: `gunicorn -c config/gunicorn.conf.py wsgi:app`."""

import gc
import os
import socket
import sys

from vmapi.backends import registry
from vmapi.errors import SettingsError
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
threads = settings.threads
worker_class = "vmapi.server.worker.Worker"
# a worker is killed only when its main loop hangs: a slow cloud does not count
timeout = 60
# longer than a call to the cloud may take, so that a stop lets every answer out
graceful_timeout = int(settings.backend_timeout) + 15
# longer than nginx keeps its connections to us, so that none is closed under a request
keepalive = 75
# as long a URL as nginx lets through
limit_request_line = 8190
forwarded_allow_ips = "127.0.0.1,::1"
control_socket_disable = True
# each request has its line from the app itself
accesslog = None
logger_class = "vmapi.server.logger.Logger"

ONE_PROCESS = f"the {settings.backend} cloud lives in the memory of one process"


def on_starting(server):
    """Refuse what cannot work before anything is bound."""
    if backend.single_process and server.cfg.workers > 1:
        sys.exit(
            f"vmapi does not start: {server.cfg.workers} workers, but {ONE_PROCESS}; "
            "use 1 worker (VMAPI_WORKERS, WEB_CONCURRENCY, -w), or VMAPI_BACKEND=openstack"
        )
    if server.master_pid == 0 and "LISTEN_FDS" not in os.environ:
        for address in server.cfg.address:
            check_free(address)


def check_free(address):
    """Exit when another server has the address: gunicorn would take a unix socket from it."""
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
            shown = address if isinstance(address, str) else f"{address[0]}:{address[1]}"
            reason = error.strerror or error
            sys.exit(f"vmapi does not start: cannot serve at {shown} (VMAPI_BIND): {reason}")


def nworkers_changed(server, new_value, old_value):
    """Refuse a second process for a cloud that lives in the memory of one (SIGTTIN)."""
    if old_value is not None and backend.single_process and new_value > 1:
        server.log.error(f"{ONE_PROCESS}: staying with one worker")
        server.num_workers = 1


def pre_exec(server):
    """Refuse a second server beside this one, for the same reason (SIGUSR2)."""
    if backend.single_process:
        server.log.error(f"{ONE_PROCESS}: not starting a second server beside this one")
        os._exit(1)


def post_fork(server, worker):  # noqa: ARG001
    """Load the app without collecting what is there to stay."""
    gc.disable()


def post_worker_init(worker):
    """Tell that requests are served."""
    # what a process that died has left unfinished is carried on by those that live
    worker.wsgi.extensions["vmapi"].engine.notify()
    gc.freeze()
    gc.enable()
    where = ", ".join(str(listener) for listener in worker.sockets)
    worker.log.info(f"ready at {where}, the docs page is at /docs")


def worker_exit(server, worker):  # noqa: ARG001
    """Let the engine finish the step it is at, and close connections."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        services = app.extensions["vmapi"]
        services.operations.stop()
        services.engine.stop()
        services.backend.close()
        services.rate_limiter.close()
        services.store.close()
