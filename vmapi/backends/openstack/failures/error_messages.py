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

MessagePatterns = tuple[tuple[re.Pattern[str], type[errors.VmapiError]], ...]


def _compile(*patterns: tuple[str, type[errors.VmapiError]]) -> MessagePatterns:
    return tuple((re.compile(pattern, re.IGNORECASE), cls) for pattern, cls in patterns)


QUOTA_PATTERN = r"Quota exceeded|Maximum number of|The number of defined ports"

SERVER_MESSAGE_PATTERNS = _compile(
    (r"Instance \S+ is locked", errors.VMLocked),
    (r"Cannot '[^']*' instance \S+ while it is in task_state", errors.TaskInProgress),
    (QUOTA_PATTERN, errors.QuotaExceeded),
)
"""Messages about a request to one server."""

CREATE_MESSAGE_PATTERNS = _compile(
    (r"Multiple possible networks", errors.NetworkAmbiguous),
    (r"Multiple security groups found|No unique match", errors.SecurityGroupAmbiguous),
    (QUOTA_PATTERN, errors.QuotaExceeded),
    (r"Flavor .* could not be found|Invalid flavorRef", errors.FlavorNotFound),
    (r"Can not find requested image|Image \S+ (could not be|is not)", errors.ImageNotFound),
    (r"Network \S+ could not be found|Unable to automatically", errors.NetworkNotFound),
    (r"Invalid key_name", errors.KeyNotFound),
    (r"Unable to find security_group|Security group \S+ not", errors.SecurityGroupNotFound),
)
"""Messages about a create."""

GONE_PATTERNS: Mapping[int, re.Pattern[str]] = {
    # an update and a delete that lose a race with a delete get the message without an id
    404: re.compile(r"Instance (?:(\S+) )?could not be found\.?$"),
    # Nova sends this for about 0.1 s after a delete, and 404 after that
    409: re.compile(r"Cannot '[^']*' instance (\S+) while it is in vm_state deleted"),
}
"""The only messages that prove the absence of a server, by status. The group is its id, if any."""

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
}
"""The error of a message that matches no pattern; a 409 depends on the request."""

MEMBER_PATTERN = re.compile(
    r"\b(?:(?P<flavor>flavors?|CPUs?|NUMA|PCI|page size)|(?P<image>images?)"
    r"|(?P<security_groups>security[ _]groups?)|(?P<network>networks?|port|fixed ?IP)"
    r"|(?P<user_data>user[ _]data)|(?P<key_name>key_name|key ?pair)|(?P<metadata>metadata))\b",
    re.IGNORECASE,
)
"""The member of a request that a message of Nova is about: its first such word."""

INVALID_FIELD_PATTERN = re.compile(r"Invalid input for field/attribute (\S+)\. ")
MAX_MESSAGE_CHARS = 300


def error_for_message(
    status: int, message: str, *, server_id: str | None = None, is_create: bool = False
) -> errors.VmapiError | None:
    """Return the error for a status and a message; None if both are unknown or empty.

    `server_id` is the id in the URL of the request, None for a request that is not about one
    server. A message about an invalid value is not repeated: it quotes the value, user data too.
    """
    if not message:
        return None
    if server_id is not None and _says_gone(status, message, server_id):
        return errors.VMNotFound("The cloud has no VM of this id.")
    if invalid := INVALID_FIELD_PATTERN.match(message):
        return _invalid_field_error(invalid[1])
    patterns = SERVER_MESSAGE_PATTERNS if server_id is not None else ()
    patterns = CREATE_MESSAGE_PATTERNS if is_create else patterns
    matches = (error_class for pattern, error_class in patterns if pattern.match(message))
    error_class = next(matches, None) or ERRORS_BY_STATUS.get(status)
    if status == 409 and error_class is None:
        error_class = _conflict_class(has_server=server_id is not None, is_create=is_create)
    if error_class is None:
        return None
    refusal = f"The cloud refuses: {_shorten(message)}"
    member = MEMBER_PATTERN.search(message)
    if error_class is errors.ValidationFailed and member is not None:
        return errors.ValidationFailed(refusal, (f"/{member.lastgroup}", _shorten(message)))
    return error_class(refusal)


def _says_gone(status: int, message: str, server_id: str) -> bool:
    """Return whether Nova says that this very server does not exist."""
    pattern = GONE_PATTERNS.get(status)
    match = pattern.match(message) if pattern else None
    return match is not None and (match[1] or server_id).lower() == server_id.lower()


def _invalid_field_error(field: str) -> errors.VmapiError:
    detail = f"The cloud does not accept this value of {field}."
    if not_found := ERRORS_BY_FIELD.get(field):
        return not_found(detail)
    return errors.ValidationFailed(detail, (f"/{field}", "the cloud does not accept it"))


def _conflict_class(*, has_server: bool, is_create: bool) -> type[errors.VmapiError] | None:
    """Return the error of a 409: a create has no VM with a wrong state."""
    if has_server:
        return errors.InvalidState
    return errors.ValidationFailed if is_create else None


def _shorten(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= MAX_MESSAGE_CHARS else f"{text[:MAX_MESSAGE_CHARS]}…"
