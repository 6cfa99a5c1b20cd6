"""Projects: each VM belongs to one, and is carried by its server in the cloud's own metadata."""

import re
from collections.abc import Mapping

from vmapi.domain.vm import RESERVED_METADATA_PREFIX, CreateSpec

#: Names of projects in vmapi; the ids of Keystone projects match it too.
PROJECT_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

DEFAULT_PROJECT = "default"
"""The project of every caller while authentication is off."""

PROJECT_METADATA_KEY = f"{RESERVED_METADATA_PREFIX}project"
"""The metadata key under which a server carries its project."""

Scope = str | None
"""The project of which somebody may see and change things; None for all projects."""


def with_project(spec: CreateSpec) -> dict[str, str]:
    """Return the metadata that a server is made with: the client's, and whose it is."""
    mark = {} if spec.project is None else {PROJECT_METADATA_KEY: spec.project}
    return {**spec.metadata, **mark}


def project_of(metadata: Mapping[str, str], default: str) -> str:
    """Return whose the server with this metadata is; what is no project's name marks none."""
    mark = metadata.get(PROJECT_METADATA_KEY, "")
    return mark if PROJECT_NAME_PATTERN.fullmatch(mark) else default
