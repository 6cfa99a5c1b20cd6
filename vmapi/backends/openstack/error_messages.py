"""What Nova means: its status numbers say little, its English says which case it is.

Seen on Nova 26 (Zed). Each pattern is tried from the start of the sentence, so that what a client
has written, which Nova quotes further on, decides nothing.
"""

import re

from vmapi import errors

MESSAGE_PATTERNS: tuple[tuple[re.Pattern[str], type[errors.VmapiError]], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), meaning)
    for pattern, meaning in (
        (r"Instance \S+ is locked", errors.VMLocked),
        (r"Cannot '[^']*' instance \S+ while it is in task_state", errors.TaskInProgress),
        # for a moment after it has deleted one, before it knows it no more
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
"""What a value that is not even well-formed names: nothing that exists."""

ERRORS_BY_STATUS = {400: errors.ValidationFailed, 403: errors.Forbidden, 409: errors.InvalidState}

INVALID_FIELD_PATTERN = re.compile(r"Invalid input for field/attribute (\S+)\. ")
MAX_MESSAGE_CHARS = 300


def error_for_message(status: int, message: str) -> errors.VmapiError | None:
    """Return the error that a refusal stands for; None where it says nothing that is known.

    What Nova says of an invalid value is not repeated: it quotes the value, user data as well.
    """
    if invalid := INVALID_FIELD_PATTERN.match(message):
        field = invalid[1]
        detail = f"The cloud does not accept this value of {field}."
        if missing := ERRORS_BY_FIELD.get(field):
            return missing(detail)
        return errors.ValidationFailed(detail, (f"/{field}", "the cloud does not accept it"))
    cases = (error for pattern, error in MESSAGE_PATTERNS if pattern.match(message))
    error = next(cases, None) or ERRORS_BY_STATUS.get(status)
    return error(f"The cloud refuses: {_shorten(message)}") if error and message else None


def _shorten(message: str) -> str:
    words = " ".join(message.split())
    return words if len(words) <= MAX_MESSAGE_CHARS else f"{words[:MAX_MESSAGE_CHARS]}…"
