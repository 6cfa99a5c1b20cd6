"""What is written for operators agrees with what is so."""

import re
from dataclasses import fields

import pytest
import yaml

from tests.support.processes import ROOT
from vmapi.api.request.body import MAX_JSON_DEPTH
from vmapi.app import MAX_BODY_BYTES
from vmapi.auth.authenticator import MAX_TOKEN_CHARS
from vmapi.services.events.feed import STREAM_HEARTBEAT_INTERVAL
from vmapi.settings.settings import Settings

NAMES = [item.metadata["name"] for item in fields(Settings)]
NGINX = (ROOT / "config/nginx.conf").read_text()


def seconds(directive: str, text: str = NGINX) -> list[int]:
    return [int(found) for found in re.findall(rf"\b{directive}\s+(\d+)s;", text)]


def test_page_for_operators_has_every_setting_and_its_default() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]*?) ?\|", page, re.M))
    assert sorted(rows) == sorted(NAMES)
    for item in fields(Settings):
        shown = rows[item.metadata["name"]]
        if item.name == "workers":
            assert shown == "2, memory: 1"
        elif item.name == "auth":
            assert shown == "`token`, memory on loopback: `none`"
        elif item.name == "allow_anonymous":
            assert shown == "`false`"
        elif item.name == "backend_timeout":
            assert shown == f"`{item.default:.0f}`"
        else:
            assert shown == (f"`{item.default}`" if item.default not in (None, "") else "")


def test_example_has_every_setting() -> None:
    example = (ROOT / "config/.env.example").read_text()
    assert sorted(re.findall(r"^#?([A-Z_]+)=", example, re.M)) == sorted(NAMES)


def test_example_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        # what is read from the file stays in the environment
        context.setattr("os.environ", {})
        assert Settings.load(ROOT / "config/.env.example") == Settings()


def test_example_of_clouds_is_yaml() -> None:
    clouds = yaml.safe_load((ROOT / "config/clouds.example.yaml").read_text())["clouds"]
    assert list(clouds) == ["mycloud", "with-password"]
    assert all("auth_url" in cloud["auth"] for cloud in clouds.values())


def test_nginx_waits_longer_than_vmapi_takes() -> None:
    longest_wait = 60
    (read_timeout,) = seconds("proxy_read_timeout")
    assert read_timeout > Settings().backend_timeout + longest_wait


def test_nginx_waits_longer_than_an_event_stream_is_silent() -> None:
    (read_timeout,) = seconds("proxy_read_timeout")
    assert read_timeout > 2 * STREAM_HEARTBEAT_INTERVAL


def test_nginx_lets_go_of_connections_before_gunicorn_does() -> None:
    gunicorn = (ROOT / "config/gunicorn.conf.py").read_text()
    kept = int(re.findall(r"^keepalive = (\d+)$", gunicorn, re.M)[0])
    upstream = NGINX[NGINX.index("upstream vmapi") :].split("}")[0]
    assert seconds("keepalive_timeout", upstream) == [60]
    assert kept > 60


def test_page_on_security_has_the_limits() -> None:
    page = (ROOT / "docs/security.md").read_text()
    assert f"{MAX_BODY_BYTES // 2**20} MiB, {MAX_JSON_DEPTH} levels deep" in page
    assert f"more than {MAX_TOKEN_CHARS:,} characters" in page
    settings = Settings()
    assert f"| {settings.rate_address.partition('/')[0]} a second |" in page
    assert f"| {settings.event_streams}, {settings.caller_streams}, and never" in page
    assert settings.wait_slots == settings.threads // 2
    assert settings.wait_slots_per_caller == settings.wait_slots // 2


def test_nginx_takes_what_vmapi_takes() -> None:
    (kilobytes,) = re.findall(r"client_max_body_size\s+(\d+)k;", NGINX)
    assert MAX_BODY_BYTES < int(kilobytes) * 1024 < 2 * MAX_BODY_BYTES
