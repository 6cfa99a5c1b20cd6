"""The rules of metadata: pairs of a key and a value on a VM."""

RESERVED_METADATA_PREFIX = "vmapi."
"""The prefix of vmapi's metadata keys: refused from clients, never shown."""

MAX_METADATA_PAIRS = 127
"""Metadata pairs of a client: Nova takes 128, and vmapi needs one for the project."""

METADATA_KEY_PATTERN = "^[A-Za-z0-9_.: -]{1,255}$"
"""Keys that Nova accepts: https://docs.openstack.org/api-ref/compute/#create-server"""

METADATA_KEY_RULE = "1 to 255 letters, digits, spaces or _ . : - characters"

MAX_METADATA_VALUE_CHARS = 255
