"""The failures that a failure of the SDK, requests or urllib3 wraps."""

import re
from collections.abc import Iterator

from keystoneauth1.exceptions import ClientException

SOURCE_SUFFIX = re.compile(r" \(_ssl\.c:\d+\)$")
"""How Python ends the messages of OpenSSL."""


def causes_of(failure: BaseException | None) -> Iterator[BaseException]:
    """Iterate over a failure and the failures that it wraps.

    Only keystoneauth's errors keep the wrapped failure in `__context__`. Elsewhere the context may
    be an older failure that the caller was handling.
    """
    if failure is None:
        return
    yield failure
    context = failure.__context__ if isinstance(failure, ClientException) else None
    for wrapped in (*failure.args, getattr(failure, "reason", None), context):
        if isinstance(wrapped, BaseException):
            yield from causes_of(wrapped)


def describe_cause(failure: BaseException | None) -> str:
    """Return the words of the innermost failure, as `certificate has expired`; empty without one.

    Outer failures repeat the URL of the request.
    """
    text, name = "", ""
    for cause in causes_of(failure):
        text, name = str(cause), type(cause).__name__
    return SOURCE_SUFFIX.sub("", text) or name
