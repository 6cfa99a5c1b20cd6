"""UUIDs: ids of VMs, operations and items of the catalog (RFC 9562)."""

import uuid

UUID_REGEX = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
"""A UUID in lower case, as vmapi and OpenStack write it."""


def parse_uuid(text: str) -> str | None:
    """Return a UUID in any spelling as the cloud writes it; None for another text."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None
