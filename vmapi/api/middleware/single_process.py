"""Refuse to serve a cloud in the memory of one process from several processes."""

import structlog
from flask import Request

from vmapi.api.middleware.config import MiddlewareConfig
from vmapi.api.request.context import RequestState, current_services
from vmapi.errors import BackendUnavailable, SettingsError, StoreUnavailable
from vmapi.settings.settings import Settings

log = structlog.get_logger("vmapi")


def check_settings(settings: Settings) -> None:
    """Check that one process serves and reconciles; warn that the cloud is not real.

    Raises SettingsError.
    """
    backend = settings.backend
    if settings.worker_count > 1:
        raise SettingsError(
            f"VMAPI_WORKERS {settings.worker_count}: the {backend} cloud lives in the "
            "memory of one process; set VMAPI_WORKERS=1, or VMAPI_BACKEND=openstack"
        )
    if settings.engine != "thread":
        raise SettingsError(
            f"VMAPI_ENGINE {settings.engine}: the {backend} cloud lives in the memory of "
            "one process; set VMAPI_ENGINE=thread, or VMAPI_BACKEND=openstack"
        )
    log.warning(
        f"the {backend} cloud is for development: its VMs are not real, "
        "and gone when this process ends"
    )


def reject_multiple_processes(config: MiddlewareConfig, request: Request, _: RequestState) -> None:
    """Raise an error if several processes, or another server, would serve such a cloud.

    A server that was not started by the settings of vmapi is found here: it reports its processes
    in the WSGI environment, and its first request claims the database. Raises BackendUnavailable
    and StoreUnavailable.
    """
    if config.single_process_backend is None:
        return
    try:
        if request.environ["wsgi.multiprocess"]:
            raise BackendUnavailable(
                f"The {config.single_process_backend} cloud lives in the memory of one process, "
                "but several processes serve. Use one process, or set VMAPI_BACKEND=openstack."
            )
        current_services().store.claim()
    except (BackendUnavailable, StoreUnavailable) as error:
        if not config.multiprocess_logged.is_set():
            config.multiprocess_logged.set()
            reason = error.reason or error.detail
            log.error("several processes serve a cloud in memory", reason=reason)
        raise
