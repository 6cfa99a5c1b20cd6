"""Error messages of Nova, Glance and Neutron as errors of vmapi.

Nova answers different problems with the same HTTP status: 409 is a wrong state, a lock, or several
networks; 403 is a policy or a quota. Only the English message distinguishes them. The messages here
were recorded from Nova 26 (Zed).

Invariant: a pattern matches at the start of a message only. Further on, Nova quotes values that a
client has written.
"""

import re
from collections.abc import Mapping

from vmapi import errors

MESSAGE_PATTERNS: tuple[tuple[re.Pattern[str], type[errors.VmapiError]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), error_class)
    for pattern, error_class in (
        (r"Instance \S+ is locked", errors.VMLocked),
        (r"Cannot '[^']*' instance \S+ while it is in task_state", errors.TaskInProgress),
        # Nova sends this for about 0.1 s after a delete, and 404 after that
        (r"Cannot '[^']*' instance \S+ while it is in vm_state deleted", errors.VMNotFound),
        (r"Multiple possible networks", errors.NetworkAmbiguous),
        (r"Quota exceeded|Maximum number of|The number of defined ports", errors.QuotaExceeded),
        (r"Flavor .* could not be found|Invalid flavorRef", errors.FlavorNotFound),
        (r"Can not find requested image|Image \S+ (could not be|is not)", errors.ImageNotFound),
        (r"Network \S+ could not be found|Unable to automatically", errors.NetworkNotFound),
        (r"Invalid key_name", errors.KeyNotFound),
        (r"Unable to find security_group|Security group \S+ not", errors.SecurityGroupNotFound),
    )
)

ERRORS_BY_FIELD = {
    "flavorRef": errors.FlavorNotFound,
    "imageRef": errors.ImageNotFound,
    "networks": errors.NetworkNotFound,
    "uuid": errors.NetworkNotFound,
    "key_name": errors.KeyNotFound,
    "security_groups": errors.SecurityGroupNotFound,
}
"""The error for a malformed value of a request field: a malformed id is an unknown id."""

ERRORS_BY_STATUS: Mapping[int, type[errors.VmapiError]] = {
    400: errors.ValidationFailed,
    403: errors.Forbidden,
    409: errors.InvalidState,
}
"""The error of a message that matches no pattern."""

INVALID_FIELD_PATTERN = re.compile(r"Invalid input for field/attribute (\S+)\. ")
MAX_MESSAGE_CHARS = 300


def error_for_message(status: int, message: str) -> errors.VmapiError | None:
    """Return the error for a status and a message; None if both are unknown or empty.

    A message about an invalid value is not repeated: it quotes the value, user data too.
    """
    if invalid := INVALID_FIELD_PATTERN.match(message):
        field = invalid[1]
        detail = f"The cloud does not accept this value of {field}."
        if not_found := ERRORS_BY_FIELD.get(field):
            return not_found(detail)
        return errors.ValidationFailed(detail, (f"/{field}", "the cloud does not accept it"))
    matches = (error_class for pattern, error_class in MESSAGE_PATTERNS if pattern.match(message))
    error_class = next(matches, None) or ERRORS_BY_STATUS.get(status)
    if error_class is None or not message:
        return None
    return error_class(f"The cloud refuses: {_shorten(message)}")


def _shorten(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= MAX_MESSAGE_CHARS else f"{text[:MAX_MESSAGE_CHARS]}…"
