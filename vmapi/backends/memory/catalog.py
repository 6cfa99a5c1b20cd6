"""The flavors, images and keys of the in-memory cloud.

Invariant: the ids are the same in every process, so that scripts can hold them.
"""

from base64 import b64encode
from collections.abc import Container, Mapping
from gzip import compress
from types import MappingProxyType
from uuid import NAMESPACE_URL, uuid5

from vmapi.domain.catalog import Flavor, Image
from vmapi.domain.vm import CreateSpec
from vmapi.errors import (
    FlavorNotFound,
    ImageNotFound,
    KeyNotFound,
    NetworkNotFound,
    SecurityGroupNotFound,
    ValidationFailed,
)

MAX_BASE64_USER_DATA_CHARS = 65_535
"""Nova's limit for user data: 49,149 bytes, more if gzip makes them short enough."""


def stable_id(name: str) -> str:
    """Return an id that depends on the name only: every process has the same ids."""
    return str(uuid5(NAMESPACE_URL, f"vmapi:memory:{name}"))


_FLAVOR_SIZES = (
    ("m1.tiny", 1, 512, 1),
    ("m1.small", 1, 2048, 2),
    ("m1.medium", 2, 4096, 4),
    ("m1.large", 4, 8192, 8),
    ("m1.xlarge", 8, 16384, 16),
)
_IMAGE_NAMES = ("ubuntu-22.04", "ubuntu-24.04", "debian-12", "cirros")

FLAVORS: Mapping[str, Flavor] = MappingProxyType(
    {stable_id(size[0]): Flavor(stable_id(size[0]), *size) for size in _FLAVOR_SIZES}
)
IMAGES: Mapping[str, Image] = MappingProxyType(
    {stable_id(name): Image(stable_id(name), name, "active", 1, 256) for name in _IMAGE_NAMES}
)
KEY_PAIRS = frozenset({"demo"})
SECURITY_GROUPS = frozenset({"default", "web"})


def check_spec(spec: CreateSpec, networks: Container[str]) -> None:
    """Check that the cloud has everything that a spec names.

    Raises FlavorNotFound, ImageNotFound, NetworkNotFound,
    KeyNotFound, SecurityGroupNotFound, ValidationFailed.
    """
    data = spec.user_data or b""
    if (
        packed := min(len(b64encode(data)), len(b64encode(compress(data))))
    ) > MAX_BASE64_USER_DATA_CHARS:
        message = f"takes {packed} characters, packed; the cloud takes {MAX_BASE64_USER_DATA_CHARS}"
        raise ValidationFailed(f"The user data {message}.", ("/user_data", message))
    if spec.image_id not in IMAGES:
        raise ImageNotFound("Can not find requested image")
    if spec.flavor_id not in FLAVORS:
        raise FlavorNotFound(f"Flavor {spec.flavor_id} could not be found.")
    if spec.key_name is not None and spec.key_name not in KEY_PAIRS:
        raise KeyNotFound(f"There is no key pair {spec.key_name}.")
    for group in spec.security_groups:
        if group not in SECURITY_GROUPS:
            raise SecurityGroupNotFound(f"There is no security group {group}.")
    if spec.network_id is not None and spec.network_id not in networks:
        raise NetworkNotFound(f"Network {spec.network_id} could not be found.")
