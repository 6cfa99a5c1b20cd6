"""How gunicorn serves vmapi: `gunicorn -c config/gunicorn.conf.py wsgi:app`."""

import signal
import sys

from vmapi.errors import SettingsError
from vmapi.settings import Settings

try:
    settings = Settings.load()
except SettingsError as error:
    sys.exit(f"vmapi does not start: {error.detail}")

bind = settings.bind
workers = settings.worker_count
threads = settings.threads
worker_class = "gthread"
# a worker is killed only when its main loop hangs: a slow cloud does not count
timeout = 60
# longer than a call to the cloud may take, so that a stop lets every answer out
graceful_timeout = int(settings.backend_timeout) + 15
keepalive = 75
forwarded_allow_ips = "127.0.0.1,::1"
control_socket_disable = True
# each request has its line from the app itself
accesslog = None
logger_class = "vmapi.telemetry.gunicorn.Logger"


def on_starting(server):
    """Refuse what cannot work before anything is bound."""
    if settings.backend == "memory" and server.cfg.workers > 1:
        sys.exit(
            f"vmapi does not start: {server.cfg.workers} workers, but the memory cloud lives in "
            "the memory of one process; use 1 worker, or VMAPI_BACKEND=openstack"
        )


def nworkers_changed(server, new_value, old_value):
    """Refuse a second process for a cloud that lives in the memory of one (SIGTTIN)."""
    if old_value is not None and settings.backend == "memory" and new_value > 1:
        server.log.error("the memory cloud lives in one process: staying with one worker")
        server.num_workers = 1


def post_worker_init(worker):
    """Let /readyz say that the process drains, from the moment it is told to stop."""
    draining = worker.wsgi.config["DRAINING"]
    stop = signal.getsignal(signal.SIGTERM)

    def drain(number, frame):
        draining.set()
        stop(number, frame)

    signal.signal(signal.SIGTERM, drain)
    worker.log.info(f"ready: the docs page is http://{settings.bind}/docs")


def worker_exit(server, worker):
    """Let the engine finish the step it is at, and close connections."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        services = app.extensions["vmapi"]
        services.engine.stop()
        services.backend.close()
