"""Logging. Used by the composition root only."""

import sys

if "structlog" not in sys.modules:
    # structlog would load rich, if it is there, to print tracebacks with the values of local
    # variables: passwords, user data. It also takes a tenth of the time to start.
    _rich = sys.modules.get("rich")
    sys.modules["rich"] = None  # type: ignore[assignment]
    import structlog  # noqa: F401

    if _rich is None:
        del sys.modules["rich"]
    else:
        sys.modules["rich"] = _rich
