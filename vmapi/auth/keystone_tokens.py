"""Validation of Keystone tokens by Keystone (Identity API v3, GET /auth/tokens).

A user may validate its own token, so vmapi needs no account for this. Results are cached for a
short time, also the result that a token is unknown.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import structlog
from keystoneauth1.exceptions import ClientException
from keystoneauth1.session import Session

from vmapi.auth.authenticator import MISDIRECTED_BEARER_DETAIL
from vmapi.auth.cache import TokenCache, ValidatedToken
from vmapi.auth.keystone_breaker import SLOTS, KeystoneBreaker, KeystoneUnresponsive
from vmapi.cloud_http import CloudHttpSession
from vmapi.domain.access.api_token import BEARER_PREFIX
from vmapi.domain.access.identity import SUBJECT_PATTERN, CallerToken, Identity
from vmapi.domain.access.project import PROJECT_NAME_PATTERN
from vmapi.domain.access.roles import Role, highest_role
from vmapi.errors import IssuerUnavailable, Unauthenticated
from vmapi.settings.tls import SYSTEM_TLS, TLSOptions
from vmapi.telemetry.metrics.catalog import OPENSTACK_SECONDS

log = structlog.get_logger("vmapi.security")

#: Seconds.
KEYSTONE_CACHE_TTL = 30.0

#: Seconds, short: another Keystone of the same cloud may not have a new token at once.
KEYSTONE_NEGATIVE_CACHE_TTL = 10.0

KEYSTONE_TIMEOUT = 5.0
"""Seconds for one request to Keystone."""

UNKNOWN_BEARER_DETAIL = "Keystone does not know this token: it is wrong, expired or revoked."
UNSCOPED_BEARER_DETAIL = (
    "This Keystone token is not for a project: ask for one that is scoped to a project."
)


class KeystoneValidator:
    """Validates the tokens of one Keystone; `roles` maps its roles to vmapi roles.

    At most `slots` requests wait for Keystone at the same time.
    """

    def __init__(
        self,
        url: str,
        roles: Mapping[str, Role],
        *,
        tls: TLSOptions = SYSTEM_TLS,
        slots: int = SLOTS,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        base = url.rstrip("/")
        self._base_url = base if base.endswith("/v3") else f"{base}/v3"
        self._roles = roles
        self._session = Session(session=CloudHttpSession(), verify=tls.verify, cert=tls.cert)
        self._now = now
        self._breaker = KeystoneBreaker(self.ping, slots)
        self._cache: TokenCache[Identity] = TokenCache(
            negative_ttl_seconds=KEYSTONE_NEGATIVE_CACHE_TTL, monotonic=monotonic
        )

    def matches(self, token: str) -> bool:
        """Return True for any token but an API token: Keystone tokens have many forms."""
        return not token.startswith(BEARER_PREFIX)

    def has_issued(self, token: str) -> bool:
        """Return False: the form of a token does not say that Keystone has issued it."""
        return False

    def authenticate(self, token: str) -> Identity:
        """Return the identity of a token, with the token as its caller token, which is not cached.

        An API token is a secret of vmapi, which Keystone must not see.
        Raises Unauthenticated, IssuerUnavailable.
        """
        if not self.matches(token):
            raise Unauthenticated(MISDIRECTED_BEARER_DETAIL, credentials_sent=True)
        identity = self._cache.get_or_validate(token, lambda: self._validate(token))
        if identity is None:
            raise Unauthenticated(UNKNOWN_BEARER_DETAIL, credentials_sent=True)
        return replace(identity, caller_token=CallerToken(token, identity.project))

    def ping(self) -> None:
        """Send a request without a token. Raises IssuerUnavailable without a response."""
        self._get(self._base_url)

    def _validate(self, token: str) -> ValidatedToken[Identity] | None:
        with self._breaker.calling():
            headers = {"X-Auth-Token": token, "X-Subject-Token": token}
            status, body = self._get(f"{self._base_url}/auth/tokens?nocatalog", headers)
        if status in (401, 404):
            return None
        try:
            if status != 200:
                raise ValueError(f"it answers with {status}")
            token_body = body["token"]
            expires_at = datetime.fromisoformat(token_body["expires_at"]).timestamp()
            ttl = max(0.0, min(KEYSTONE_CACHE_TTL, expires_at - self._now()))
            return ValidatedToken(self._to_identity(token_body), ttl)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("Keystone did not validate a token", reason=str(error))
            raise IssuerUnavailable("Keystone did not validate this token.") from None

    def _get(self, url: str, headers: Mapping[str, str] | None = None) -> tuple[int, Any]:
        """Return the status and the JSON of a response. Raises IssuerUnavailable."""
        started_at, status = time.perf_counter(), "none"
        try:
            response = self._session.get(
                url,
                headers=dict(headers or {}),
                authenticated=False,
                raise_exc=False,
                redirect=False,
                connect_retries=0,
                timeout=KEYSTONE_TIMEOUT,
                # keystoneauth would log a hash of the token
                log=False,
            )
            status = str(response.status_code)
        # OSError: a file of the TLS settings cannot be read
        except (ClientException, OSError) as error:
            unresponsive = KeystoneUnresponsive("Keystone does not answer.")
            unresponsive.reason = f"{type(error).__name__}: {error}"
            log.warning("Keystone unavailable", reason=unresponsive.reason)
            raise unresponsive from None
        finally:
            call = "GET /auth/tokens" if headers else "GET /"
            seconds = time.perf_counter() - started_at
            OPENSTACK_SECONDS.observe(seconds, "identity", call, status)
        try:
            return response.status_code, response.json() if response.status_code == 200 else None
        except ValueError:
            return response.status_code, None

    def _to_identity(self, token_body: Mapping[str, Any]) -> Identity:
        subject, project = f"keystone:{token_body['user']['id']}", token_body.get("project") or {}
        if not PROJECT_NAME_PATTERN.fullmatch(str(project.get("id", ""))):
            raise Unauthenticated(UNSCOPED_BEARER_DETAIL, credentials_sent=True)
        if not SUBJECT_PATTERN.fullmatch(subject):
            raise ValueError("the id of the user is not allowed")
        names = [role["name"] for role in token_body.get("roles") or ()]
        roles = {self._roles[name] for name in names if name in self._roles}
        return Identity(subject, highest_role(roles), str(project["id"]))
