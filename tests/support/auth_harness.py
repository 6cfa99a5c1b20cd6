"""An app that asks who comes, and callers of every role."""

from dataclasses import replace
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.api_harness import ApiHarness
from vmapi.auth import factory as configured
from vmapi.domain.roles import Role
from vmapi.settings.settings import Settings


class AuthHarness:
    """A world whose gate asks for API tokens."""

    def __init__(self, world: ApiHarness, **settings: Any) -> None:
        self.world = world
        services = world.services
        asking, tokens = Settings(**{"auth": ("token",), **settings}), services.api_tokens
        gate = configured.build_authenticator(
            asking, tokens.find_by_digest, tokens.record_use, world.clock
        )
        world.app.extensions["vmapi"] = replace(services, authenticator=gate)

    @property
    def client(self) -> FlaskClient:
        return self.world.client

    def create_token(self, role: str, subject: str = "ci", project: str = "web") -> str:
        """Make a token."""
        made, _ = self.world.services.api_tokens.create(
            subject, Role(role), project, None, "cli:me"
        )
        return made

    def call(self, method: str, path: str, token: str | None = None, **given: Any) -> TestResponse:
        """Send a request, with a token if there is one."""
        headers = dict(given.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.world.call(method, path, headers=headers, **given)
