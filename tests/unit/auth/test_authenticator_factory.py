"""Who is let in by the settings, and which settings are refused."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from vmapi.app import create_app
from vmapi.auth import factory as configured
from vmapi.errors import SettingsError
from vmapi.settings import checks
from vmapi.settings.settings import Settings

LOOPBACK = ["127.0.0.1:8000", "127.9.9.9:1", "[::1]:80", "localhost:8000", "unix:/run/vmapi.sock"]
ELSEWHERE = ["0.0.0.0:8000", "[::]:80", "192.0.2.1:80", "vmapi.example.org:80", "127.example:80"]


@pytest.mark.parametrize("bind", LOOPBACK)
def test_only_the_memory_cloud_on_loopback_asks_nobody(bind: str) -> None:
    assert Settings(bind=bind).auth_schemes == ("none",)
    assert Settings(bind=bind, backend="openstack").auth_schemes == ("token",)


@pytest.mark.parametrize("bind", ELSEWHERE)
def test_elsewhere_everybody_is_asked(bind: str) -> None:
    assert Settings(bind=bind).auth_schemes == ("token",)


def test_what_is_said_counts() -> None:
    assert Settings(auth=("token", "jwt")).auth_schemes == ("token", "jwt")
    assert Settings(auth=("none",), backend="openstack").auth_schemes == ("none",)


def refused(**settings: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        create_app(Settings(log_level="CRITICAL", **settings))
    return caught.value.detail


@pytest.mark.parametrize("bind", ELSEWHERE)
@pytest.mark.parametrize("auth", [("none",), ("token", "none")])
def test_nobody_is_asked_elsewhere_only_where_that_is_meant(
    bind: str, auth: tuple[str, ...]
) -> None:
    told = refused(bind=bind, auth=auth)
    assert told.startswith(f"VMAPI_AUTH none at VMAPI_BIND {bind}: every client that reaches it")
    assert told.endswith("or VMAPI_ALLOW_ANONYMOUS=true if this is meant")
    meant = Settings(bind=bind, auth=("none",), allow_anonymous=True)
    checks.validate(meant, single_process=True)


def test_tokens_that_go_with_the_process_are_of_no_use() -> None:
    for given in ({"auth": ("token",)}, {"bind": "0.0.0.0:8000"}):
        assert refused(**given) == (
            "VMAPI_AUTH token: tokens are stored in the database, and here the database ends with "
            "the process; set VMAPI_DATABASE_URL=sqlite:////PATH, or on loopback VMAPI_AUTH=none"
        )


@pytest.mark.parametrize(
    ("auth", "warnings"), [(("none",), 1), (("none", "token"), 1), (("token",), 0)]
)
def test_that_nobody_is_asked_is_in_the_log(auth: tuple[str, ...], warnings: int) -> None:
    with capture_logs() as logs:
        configured.warn_if_anonymous(Settings(auth=auth))
    assert [line["log_level"] for line in logs] == ["warning"] * warnings


@pytest.mark.parametrize("given", [{}, {"jwt_issuer": "https://e.org"}, {"jwt_audience": "us"}])
def test_an_issuer_and_an_audience_are_both_wanted(given: dict[str, str]) -> None:
    told = refused(auth=("jwt",), **given)
    assert told.startswith("VMAPI_AUTH jwt: set VMAPI_JWT_ISSUER, the issuer's URL, and")


def test_a_keystone_is_wanted() -> None:
    told = (
        "VMAPI_AUTH keystone: set VMAPI_KEYSTONE_URL, the URL of the Keystone that issues the "
        "tokens"
    )
    assert refused(auth=("keystone",)) == told
    for name in ("keystone_url", "openstack_auth_url"):
        named: Any = {name: "http://k.invalid:5000/v3"}
        checks.validate(Settings(auth=("keystone",), **named), single_process=True)


def test_nothing_is_fetched_at_the_start() -> None:
    settings = Settings(
        log_level="CRITICAL", auth=("jwt",), jwt_issuer="https://e.invalid", jwt_audience="us"
    )
    app = create_app(settings)
    assert app.test_client().get("/livez").status_code == 200
