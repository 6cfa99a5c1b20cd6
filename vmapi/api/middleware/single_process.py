"""A cloud that lives in the memory of one process is not served by several."""

import threading
from collections.abc import Callable

import structlog
from flask import Flask, request

from vmapi.errors import BackendUnavailable, SettingsError
from vmapi.settings.settings import Settings

log = structlog.get_logger("vmapi")


def check(app: Flask, settings: Settings) -> None:
    """See that one process serves the app, now and with each request. Raises SettingsError."""
    if settings.worker_count > 1:
        raise SettingsError(
            f"VMAPI_WORKERS {settings.worker_count}: the {settings.backend} cloud lives in the "
            "memory of one process; set VMAPI_WORKERS=1, or VMAPI_BACKEND=openstack"
        )
    if settings.engine != "thread":
        raise SettingsError(
            f"VMAPI_ENGINE {settings.engine}: the {settings.backend} cloud lives in the memory of "
            "one process; set VMAPI_ENGINE=thread, or VMAPI_BACKEND=openstack"
        )
    log.warning(
        f"the {settings.backend} cloud is for development: its VMs are not real, "
        "and gone when this process ends"
    )
    app.before_request(_one_process(settings.backend))


def _one_process(backend: str) -> Callable[[], None]:
    told = threading.Event()

    def check() -> None:
        # a server that was not told by our settings how many processes there are tells it here
        if not request.environ["wsgi.multiprocess"]:
            return
        refusal = (
            f"The {backend} cloud lives in the memory of one process, but several serve. "
            "Serve with one, or set VMAPI_BACKEND=openstack."
        )
        if not told.is_set():
            told.set()
            log.error(refusal)
        raise BackendUnavailable(refusal)

    return check
