"""Requests from callers in different projects."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.support.api_harness import ApiHarness
from vmapi.auth.authenticator import Authenticator
from vmapi.domain.access.identity import Identity
from vmapi.domain.access.roles import Role


@contextmanager
def as_project(harness: ApiHarness, project: str) -> Iterator[None]:
    """Make every request come from an operator of a project."""
    before = harness.services
    caller_identity = Identity("anonymous", Role.OPERATOR, project)
    authenticator = Authenticator(
        [], anonymous_identity=caller_identity, allow_remote_anonymous=False
    )
    harness.app.extensions["vmapi"] = replace(before, authenticator=authenticator)
    try:
        yield
    finally:
        harness.app.extensions["vmapi"] = before
