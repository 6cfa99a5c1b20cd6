"""What Nova means: its status numbers say little, its English says which case it is.

Seen on Nova 26 (Zed). Each pattern is tried from the start of the sentence, so that what a client
has written, which Nova quotes further on, decides nothing.
"""

import re

from vmapi import errors

CASES: tuple[tuple[re.Pattern[str], type[errors.VmapiError]], ...] = tuple(
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

FIELDS = {
    "flavorRef": errors.FlavorNotFound,
    "imageRef": errors.ImageNotFound,
    "networks": errors.NetworkNotFound,
    "uuid": errors.NetworkNotFound,
    "key_name": errors.KeyNotFound,
    "security_groups": errors.SecurityGroupNotFound,
}
"""What a value that is not even well-formed names: nothing that exists."""

OTHERWISE = {400: errors.ValidationFailed, 403: errors.Forbidden, 409: errors.InvalidState}

INVALID = re.compile(r"Invalid input for field/attribute (\S+)\. ")
LONGEST = 300


def meaning(status: int, sentence: str) -> errors.VmapiError | None:
    """Return the error that a refusal stands for; None where it says nothing that is known.

    What Nova says of an invalid value is not repeated: it quotes the value, user data as well.
    """
    if invalid := INVALID.match(sentence):
        field = invalid[1]
        detail = f"The cloud does not accept this value of {field}."
        if missing := FIELDS.get(field):
            return missing(detail)
        return errors.ValidationFailed(detail, (f"/{field}", "the cloud does not accept it"))
    cases = (error for pattern, error in CASES if pattern.match(sentence))
    error = next(cases, None) or OTHERWISE.get(status)
    return error(f"The cloud refuses: {_short(sentence)}") if error and sentence else None


def _short(sentence: str) -> str:
    words = " ".join(sentence.split())
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}…"
