"""The text of an error for operators, in logs and commands."""

from vmapi.errors import VmapiError


def operator_text(error: VmapiError) -> str:
    """Return the detail of an error, with the words of a library if it has them."""
    if error.reason in ("", error.detail):
        return error.detail
    return f"{error.detail.removesuffix('.')}: {error.reason}"
