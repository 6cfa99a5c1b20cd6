"""Projects of VMs. A server carries its project in the cloud's metadata."""

import re
from collections.abc import Mapping

from vmapi.domain.metadata import RESERVED_METADATA_PREFIX
from vmapi.domain.vm import CreateSpec

#: Names of projects in vmapi; the ids of Keystone projects match it too.
PROJECT_NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

DEFAULT_PROJECT = "default"
"""The project of every caller while authentication is off."""

PROJECT_METADATA_KEY = f"{RESERVED_METADATA_PREFIX}project"
"""The metadata key of the project of a server."""

NO_PROJECT = ""
"""Stands for an unknown project: only callers of all projects see such an event."""

Scope = str | None
"""The only project that a caller may see and change; None for all projects."""


def with_project(spec: CreateSpec) -> dict[str, str]:
    """Return the metadata of a new server: the client's and the project."""
    metadata = dict(spec.metadata)
    if spec.project is not None:
        metadata[PROJECT_METADATA_KEY] = spec.project
    return metadata


def project_of(metadata: Mapping[str, str], default: str) -> str:
    """Return the project of a server; the default for a missing or invalid one."""
    project = metadata.get(PROJECT_METADATA_KEY, "")
    return project if PROJECT_NAME_PATTERN.fullmatch(project) else default
