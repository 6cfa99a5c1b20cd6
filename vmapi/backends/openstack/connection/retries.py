"""The attempts of a read from the cloud."""

import structlog
from stamina.instrumentation import RetryDetails, set_on_retry_hooks

log = structlog.get_logger("vmapi.openstack")


def log_retries_of_reads() -> None:
    """Log each repeated read as a line of vmapi, in place of the hook of stamina.

    That hook logs a warning with the arguments of the call.
    """
    set_on_retry_hooks([_log_retry])


def _log_retry(details: RetryDetails) -> None:
    reason = repr(details.caused_by)
    log.debug("read repeated", attempt=details.retry_num + 1, reason=reason)
