"""The Compose file and the configurations that it mounts agree with vmapi."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.container_image import read_image_settings
from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import ROOT, require_program
from vmapi.settings.settings import Settings

FOLDER = ROOT / "deploy/container"
SECRETS = {
    "database-url": "postgresql+psycopg://vmapi:hunter2@postgres/vmapi",
    "broker-url": "amqp://vmapi:hunter2@rabbitmq:5672//",
    "audit-key": "0123456789abcdef0123456789abcdef",  # pragma: allowlist secret
}
OWN_SERVICES = ("migration", "api1", "api2", "worker")


@pytest.fixture
def compose() -> Any:
    """Return the services of the Compose file."""
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]


def test_settings_are_accepted(compose: Any, tmp_path: Path) -> None:
    for name, text in SECRETS.items():
        (tmp_path / name).write_text(text)
    environment = {
        name: text.replace("/run/secrets", str(tmp_path))
        for name, text in compose["api1"]["environment"].items()
    }
    settings = Settings.from_environ({**read_image_settings(), **environment})
    assert (settings.bind, settings.engine) == ("0.0.0.0:8000", "celery")
    assert settings.database_url == SECRETS["database-url"]


def test_images_are_pinned(compose: Any) -> None:
    for service in compose.values():
        assert re.search(r":v?[0-9]+\.[0-9]+\.[0-9]+|:[0-9]+\.[0-9]+", service["image"])


@pytest.mark.parametrize("name", OWN_SERVICES)
def test_containers_are_restricted(compose: Any, name: str) -> None:
    service = compose[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    grace_seconds = int(service["stop_grace_period"].removesuffix("s"))
    assert grace_seconds >= Settings().backend_timeout + 15


def test_haproxy_accepts_its_configuration(compose: Any, tmp_path: Path) -> None:
    program = require_program("haproxy", "haproxy")
    haproxy = compose["haproxy"]
    folders = dict(volume.split(":")[1::-1] for volume in haproxy["volumes"])
    sources = {target: (FOLDER / source).resolve() for target, source in folders.items()}
    checked = tmp_path / "haproxy.cfg"
    text = sources["/usr/local/etc/haproxy/haproxy.cfg"].read_text()
    switches = "/etc/haproxy/switches.map"
    assert text.count(f"({switches},") == 1
    checked.write_text(text.replace(switches, str(sources[switches])))
    command = [program, "-c", "-V", "-f", str(checked)]
    done = subprocess.run(
        command, env=haproxy["environment"], check=True, capture_output=True, timeout=WAIT_SECONDS
    )
    # each name of the environment is a service; here, no DNS knows it
    for number in (1, 2):
        assert f"api{number}" in compose
        assert f"could not resolve address 'api{number}'" in done.stderr.decode()


def test_prometheus_accepts_its_configuration(compose: Any) -> None:
    program = require_program("promtool", "prometheus")
    checked = FOLDER / "prometheus.yml"
    # the rules are where the container has them
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in
               compose["prometheus"]["volumes"]}  # fmt: skip
    (rules,) = yaml.safe_load(checked.read_text())["rule_files"]
    folder, name = rules.rsplit("/", 1)
    assert (FOLDER / mounted[folder] / name).is_file()
    command = [program, "check", "config", "--syntax-only", str(checked)]
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT_SECONDS)
