"""The versions of the API that an app serves side by side, and the one of the current request.

A version is a set of blueprints below a base path, with an OpenAPI document. All versions share the
services, and so the VMs, the operations and the limits. URLs in a response, in headers and in
problems, have the version of the request.
"""

from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app, has_request_context, request
from flask_smorest import Blueprint

EXTENSION = "vmapi.versions"
"""The key of the versions in the extensions of the app."""


@dataclass(frozen=True, slots=True)
class ApiVersion:
    """A version of the API: its name, such as `v1`, and its blueprints."""

    name: str
    blueprints: tuple[Blueprint, ...]

    @property
    def base_path(self) -> str:
        """The start of the URL paths, such as `/api/v1`."""
        return f"/api/{self.name}"

    def serves(self, path: str) -> bool:
        """Whether a URL path is the base path, or below it."""
        return f"{path}/".startswith(f"{self.base_path}/")


@dataclass(frozen=True, slots=True)
class ApiVersions:
    """The versions of an app.

    `main` is the version of the settings: `/` and `/openapi.json` describe it, and its endpoints
    have the names of their blueprints. The others have the name of their version as a prefix.
    """

    main: ApiVersion
    others: tuple[ApiVersion, ...] = ()

    def endpoint(self, version: ApiVersion, name: str) -> str:
        """Return the name of an endpoint, or of a blueprint, of a version."""
        return name if version is self.main else f"{version.name}.{name}"

    def document_path(self, version: ApiVersion) -> str:
        """Return the URL path of the OpenAPI document of a version."""
        below = "" if version is self.main else version.base_path
        return f"{below}/openapi.json"

    def find(self, path: str) -> ApiVersion:
        """Return the version that serves a URL path; the main version if none does."""
        return next((version for version in self.others if version.serves(path)), self.main)


def install(app: Flask, versions: ApiVersions) -> None:
    """Set the versions of an app."""
    app.extensions[EXTENSION] = versions


def current_versions() -> ApiVersions:
    """Return the versions of the current app."""
    return cast(ApiVersions, current_app.extensions[EXTENSION])


def current_version() -> ApiVersion:
    """Return the version of the current request; the main one outside a request."""
    versions = current_versions()
    return versions.find(request.path) if has_request_context() else versions.main


def current_base_path() -> str:
    """Return the base path of the current request."""
    return current_version().base_path
