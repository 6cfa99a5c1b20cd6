"""An app that requires API tokens, and callers of every role."""

from dataclasses import replace
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.api_harness import ApiHarness
from vmapi.auth.factory import build_authenticator
from vmapi.domain.access.roles import Role
from vmapi.settings.settings import Settings


class AuthHarness:
    """An API harness with an authenticator for API tokens."""

    def __init__(self, harness: ApiHarness, **settings: Any) -> None:
        self.harness = harness
        services = harness.services
        auth_settings, tokens = Settings(**{"auth": ("token",), **settings}), services.api_tokens
        authenticator = build_authenticator(
            auth_settings, tokens.find_by_digest, tokens.record_use, harness.clock
        )
        harness.app.extensions["vmapi"] = replace(services, authenticator=authenticator)

    @property
    def client(self) -> FlaskClient:
        return self.harness.client

    def create_token(self, role: str, subject: str = "ci", project: str = "web") -> str:
        """Create a token and return its text."""
        token, _ = self.harness.services.api_tokens.create(
            subject, Role(role), project, None, "cli:me"
        )
        return token

    def call(self, method: str, path: str, token: str | None = None, **kwargs: Any) -> TestResponse:
        """Send a request, with a token if one is passed."""
        headers = dict(kwargs.pop("headers", {}))
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return self.harness.call(method, path, headers=headers, **kwargs)
