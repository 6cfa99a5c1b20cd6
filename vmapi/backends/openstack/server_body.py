"""What Nova is sent to have a server built."""

import gzip
from base64 import b64encode

from vmapi.backends.openstack.mapping import OPERATION_TAG_PREFIX
from vmapi.backends.openstack.session import Json
from vmapi.domain.project import with_project
from vmapi.domain.vm import CreateSpec
from vmapi.errors import ValidationFailed

MAX_USER_DATA_CHARS = 65_535
"""Characters of user data, in base64, that Nova takes."""


def build_server_body(spec: CreateSpec, operation_id: str) -> Json:
    """Return the server to ask for. Raises ValidationFailed when its user data is too long."""
    asked: Json = {
        "name": spec.name,
        "flavorRef": spec.flavor_id,
        "imageRef": spec.image_id,
        "networks": [{"uuid": spec.network_id}] if spec.network_id else "auto",
        "metadata": with_project(spec),
        "tags": [f"{OPERATION_TAG_PREFIX}{operation_id}"],
    }
    if spec.user_data is not None:
        asked["user_data"] = encode_user_data(spec.user_data)
    if spec.key_name is not None:
        asked["key_name"] = spec.key_name
    if spec.security_groups:
        asked["security_groups"] = [{"name": name} for name in spec.security_groups]
    return asked


def encode_user_data(user_data: bytes) -> str:
    """Return user data in base64, gzipped where it would be too long: cloud-init unpacks it.

    Raises ValidationFailed when it is too long even so.
    """
    plain = b64encode(user_data).decode()
    if len(plain) <= MAX_USER_DATA_CHARS:
        return plain
    packed = b64encode(gzip.compress(user_data, mtime=0)).decode()
    if len(packed) <= MAX_USER_DATA_CHARS:
        return packed
    said = f"takes {len(packed)} characters, packed; the cloud takes {MAX_USER_DATA_CHARS}"
    raise ValidationFailed(f"The user data {said}.", ("/user_data", said))
