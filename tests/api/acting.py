"""Requests of callers who are in different projects."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from tests.world import World


@contextmanager
def acting(world: World, project: str) -> Iterator[None]:
    """Let requests come from a caller of this project."""
    before = world.services
    world.app.extensions["vmapi"] = replace(before, default_project=project)
    try:
        yield
    finally:
        world.app.extensions["vmapi"] = before
