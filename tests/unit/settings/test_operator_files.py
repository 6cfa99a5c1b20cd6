"""Files for operators agree with the code: references, examples, nginx, security page."""

import re

import pytest
import yaml

from tests.support.processes import ROOT
from vmapi.api.request.body import MAX_BODY_BYTES, MAX_JSON_DEPTH
from vmapi.auth.authenticator import MAX_TOKEN_CHARS
from vmapi.services.events.feed import STREAM_HEARTBEAT_INTERVAL
from vmapi.settings.reference import env_example, settings_reference
from vmapi.settings.settings import DECLARATIONS, Settings

SETTING_NAMES = [declared.name for declared in DECLARATIONS.values()]
NGINX = (ROOT / "config/nginx.conf").read_text()


def read_seconds(directive: str, text: str = NGINX) -> list[int]:
    return [int(number) for number in re.findall(rf"\b{directive}\s+(\d+)s;", text)]


def test_reference_and_example_have_every_setting() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \|", settings_reference(), re.M)
    assert sorted(rows) == sorted(SETTING_NAMES)
    assert sorted(re.findall(r"^#?([A-Z_]+)=", env_example(), re.M)) == sorted(SETTING_NAMES)


def test_env_example_has_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        # the loader copies the file into the environment
        context.setattr("os.environ", {})
        assert Settings.load(ROOT / "config/.env.example") == Settings()


def test_clouds_example_is_valid() -> None:
    clouds = yaml.safe_load((ROOT / "config/clouds.example.yaml").read_text())["clouds"]
    assert list(clouds) == ["mycloud", "with-password"]
    assert all("auth_url" in cloud["auth"] for cloud in clouds.values())


def test_nginx_read_timeout_exceeds_the_longest_request() -> None:
    longest_wait = 60
    (read_timeout,) = read_seconds("proxy_read_timeout")
    assert read_timeout > Settings().backend_timeout + longest_wait


def test_nginx_read_timeout_exceeds_the_stream_heartbeat() -> None:
    (read_timeout,) = read_seconds("proxy_read_timeout")
    assert read_timeout > 2 * STREAM_HEARTBEAT_INTERVAL


def test_nginx_closes_idle_connections_before_gunicorn() -> None:
    gunicorn = (ROOT / "vmapi/server/gunicorn_config.py").read_text()
    keepalive = int(re.findall(r"^keepalive = (\d+)$", gunicorn, re.M)[0])
    upstream = NGINX[NGINX.index("upstream vmapi") :].split("}")[0]
    assert read_seconds("keepalive_timeout", upstream) == [60]
    assert keepalive > 60


def test_security_page_has_the_limits() -> None:
    page = (ROOT / "docs/explanation/security.md").read_text()
    assert f"{MAX_BODY_BYTES // 2**20} MiB, {MAX_JSON_DEPTH} levels deep" in page
    assert f"more than {MAX_TOKEN_CHARS:,} characters" in page
    settings = Settings()
    assert f"| {settings.rate_address[0].amount} a second |" in page
    assert f"| {settings.event_streams}, {settings.caller_streams}, and never" in page
    streams = (ROOT / "docs/reference/api.md").read_text()
    assert f"at most {settings.event_streams:,} in a process (`VMAPI_EVENT_STREAMS`)" in streams
    assert f"{settings.caller_streams} of one caller (`VMAPI_CALLER_STREAMS`)" in streams
    assert settings.wait_slots == settings.threads // 2
    assert settings.wait_slots_per_caller == settings.wait_slots // 2


def test_nginx_body_limit_exceeds_that_of_vmapi() -> None:
    (kilobytes,) = re.findall(r"client_max_body_size\s+(\d+)k;", NGINX)
    assert MAX_BODY_BYTES < int(kilobytes) * 1024 < 2 * MAX_BODY_BYTES
