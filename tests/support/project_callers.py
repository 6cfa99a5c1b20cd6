"""Requests of callers who are in different projects."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.support.api_harness import ApiHarness
from vmapi.auth.authenticator import Authenticator
from vmapi.domain.identity import Identity
from vmapi.domain.roles import Role


@contextmanager
def as_project(world: ApiHarness, project: str) -> Iterator[None]:
    """Let requests come from an operator of this project."""
    before = world.services
    who = Identity("anonymous", Role.OPERATOR, project)
    gate = Authenticator([], anonymous_identity=who, allow_remote_anonymous=False)
    world.app.extensions["vmapi"] = replace(before, authenticator=gate)
    try:
        yield
    finally:
        world.app.extensions["vmapi"] = before
