"""Settings of authentication: default schemes, contradictions, warnings."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from vmapi.app import create_app
from vmapi.auth.factory import warn_if_anonymous
from vmapi.errors import SettingsError
from vmapi.settings import checks
from vmapi.settings.settings import Settings

LOOPBACK_BINDS = [
    "127.0.0.1:8000",
    "127.9.9.9:1",
    "[::1]:80",
    "localhost:8000",
    "unix:/run/vmapi.sock",
]
REMOTE_BINDS = ["0.0.0.0:8000", "[::]:80", "192.0.2.1:80", "vmapi.example.org:80", "127.example:80"]


@pytest.mark.parametrize("bind", LOOPBACK_BINDS)
def test_default_scheme_is_none_for_the_memory_cloud_on_loopback_only(bind: str) -> None:
    assert Settings(bind=bind).auth_schemes == ("none",)
    assert Settings(bind=bind, backend="openstack").auth_schemes == ("token",)


@pytest.mark.parametrize("bind", REMOTE_BINDS)
def test_default_scheme_is_token_on_remote_addresses(bind: str) -> None:
    assert Settings(bind=bind).auth_schemes == ("token",)


def test_configured_schemes_replace_the_default() -> None:
    assert Settings(auth=("token", "jwt")).auth_schemes == ("token", "jwt")
    assert Settings(auth=("none",), backend="openstack").auth_schemes == ("none",)


def rejection(**settings: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        create_app(Settings(log_level="CRITICAL", **settings))
    return caught.value.detail


@pytest.mark.parametrize("bind", REMOTE_BINDS)
@pytest.mark.parametrize("auth", [("none",), ("token", "none")])
def test_scheme_none_on_remote_addresses_needs_allow_anonymous(
    bind: str, auth: tuple[str, ...]
) -> None:
    detail = rejection(bind=bind, auth=auth)
    assert detail.startswith(f"VMAPI_AUTH none at VMAPI_BIND {bind}: every client that reaches it")
    assert detail.endswith("or VMAPI_ALLOW_ANONYMOUS=true if this is meant")
    allowed = Settings(bind=bind, auth=("none",), allow_anonymous=True)
    checks.validate(allowed, single_process=True)


def test_scheme_token_needs_a_database_that_outlives_the_process() -> None:
    for settings in ({"auth": ("token",)}, {"bind": "0.0.0.0:8000"}):
        assert rejection(**settings) == (
            "VMAPI_AUTH token: tokens are stored in the database, and here the database ends with "
            "the process; set VMAPI_DATABASE_URL=sqlite:////PATH, or on loopback VMAPI_AUTH=none"
        )


@pytest.mark.parametrize(
    ("auth", "warnings"), [(("none",), 1), (("none", "token"), 1), (("token",), 0)]
)
def test_scheme_none_is_logged_as_a_warning(auth: tuple[str, ...], warnings: int) -> None:
    with capture_logs() as logs:
        warn_if_anonymous(Settings(auth=auth))
    assert [line["log_level"] for line in logs] == ["warning"] * warnings


@pytest.mark.parametrize("settings", [{}, {"jwt_issuer": "https://e.org"}, {"jwt_audience": "us"}])
def test_scheme_jwt_needs_an_issuer_and_an_audience(settings: dict[str, str]) -> None:
    detail = rejection(auth=("jwt",), **settings)
    assert detail.startswith("VMAPI_AUTH jwt: set VMAPI_JWT_ISSUER, the issuer's URL, and")


def test_scheme_keystone_needs_a_url() -> None:
    detail = (
        "VMAPI_AUTH keystone: set VMAPI_KEYSTONE_URL, the URL of the Keystone that issues the "
        "tokens"
    )
    assert rejection(auth=("keystone",)) == detail
    for name in ("keystone_url", "openstack_auth_url"):
        settings: Any = {name: "http://k.invalid:5000/v3"}
        checks.validate(Settings(auth=("keystone",), **settings), single_process=True)


def test_start_does_not_contact_the_issuer() -> None:
    settings = Settings(
        log_level="CRITICAL", auth=("jwt",), jwt_issuer="https://e.invalid", jwt_audience="us"
    )
    app = create_app(settings)
    assert app.test_client().get("/livez").status_code == 200
