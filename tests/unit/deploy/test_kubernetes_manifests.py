"""The Kubernetes manifests: built by kustomize, valid, and in agreement with the settings."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.support.container_image import read_image_settings
from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import ROOT, require_program
from vmapi.cli.commands import COMMANDS
from vmapi.settings.settings import Settings

SOURCE = ROOT / "deploy/kubernetes"
OVERLAYS = ("trial", "production")
SCHEMA_VERSION = "1.37"
WITHOUT_SCHEMA = {"ServiceMonitor"}
PRE_STOP_SECONDS = 5
SECRETS = {
    "database-url": "postgresql+psycopg://vmapi:hunter2@db.example/vmapi",
    "broker-url": "amqp://vmapi:hunter2@mq.example.org:5672//",
    "rate-storage": "redis://cache.example.org:6379/0",
    "audit-key": "0123456789abcdef0123456789abcdef",  # pragma: allowlist secret
    "clouds.yaml": "clouds: {}",
}

Resource = dict[str, Any]


@pytest.fixture(scope="module")
def manifests(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the manifests, with files of secrets."""
    folder = tmp_path_factory.mktemp("kubernetes") / "manifests"
    shutil.copytree(SOURCE, folder)
    secrets = folder / "overlays/production/secrets"
    secrets.mkdir(exist_ok=True)
    for name, text in SECRETS.items():
        (secrets / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def build(manifests: Path) -> Callable[[str], list[Resource]]:
    """Return a function that builds an overlay."""
    kubectl = require_program("kubectl", "kubectl")

    def build(overlay: str) -> list[Resource]:
        command = [kubectl, "kustomize", str(manifests / "overlays" / overlay)]
        ran = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=WAIT_SECONDS
        )
        return list(yaml.safe_load_all(ran.stdout))

    return build


def read_sources() -> Iterator[Resource]:
    for path in sorted(SOURCE.rglob("*.yaml")):
        if path.name != "kustomization.yaml" and not path.stem.endswith("-patch"):
            yield from yaml.safe_load_all(path.read_text())


def find_workloads(resources: list[Resource]) -> dict[str, Resource]:
    """Return the pod specification of each Deployment and Job."""
    return {
        resource["metadata"]["name"]: resource["spec"]["template"]["spec"]
        for resource in resources
        if resource["kind"] in ("Deployment", "Job")
    }


def test_manifests_are_valid_in_strict_mode() -> None:
    for resource in read_sources():
        if resource["kind"] not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(resource, SCHEMA_VERSION, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_overlays_are_valid_in_strict_mode(
    build: Callable[[str], list[Resource]], overlay: str
) -> None:
    resources = build(overlay)
    for resource in resources:
        if resource["kind"] not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(resource, SCHEMA_VERSION, strict=True)
    namespaces = {resource["metadata"].get("namespace") for resource in resources}
    assert len(namespaces - {None}) == 1


def test_validation_refuses_an_unknown_field() -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {}, "tokens": True}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(account, SCHEMA_VERSION, strict=True)


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_are_restricted(build: Callable[[str], list[Resource]], overlay: str) -> None:
    for pod in find_workloads(build(overlay)).values():
        # variables as VMAPI_PORT, which Kubernetes makes of a service, would stop the start
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsUser"] == 10001
        (container,) = pod["containers"]
        assert container["args"][0] in {"serve", *(command.name for command in COMMANDS)}
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_may_finish_their_requests(
    build: Callable[[str], list[Resource]], overlay: str
) -> None:
    pod = find_workloads(build(overlay))["vmapi-api"]
    (container,) = pod["containers"]
    assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", str(PRE_STOP_SECONDS)]
    longest_stop = PRE_STOP_SECONDS + Settings().backend_timeout + 15
    assert pod["terminationGracePeriodSeconds"] > longest_stop


def read_settings(*files: str) -> dict[str, str]:
    lines = [line for name in files for line in (SOURCE / name).read_text().splitlines()]
    settings = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    return {**read_image_settings(), **settings}


def test_settings_of_both_overlays_are_accepted(manifests: Path) -> None:
    trial = Settings.from_environ(read_settings("base/settings.env"))
    assert (trial.backend, trial.metrics_bind) == ("memory", "0.0.0.0:9464")
    secrets = manifests / "overlays/production/secrets"
    production = {
        name: text.replace("/etc/vmapi/secrets", str(secrets))
        for name, text in read_settings(
            "base/settings.env", "overlays/production/settings.env"
        ).items()
    }
    settings = Settings.from_environ(production)
    assert (settings.engine, settings.database_url) == ("celery", SECRETS["database-url"])


def test_monitor_selects_the_service_of_the_metrics(
    build: Callable[[str], list[Resource]],
) -> None:
    resources = build("production")
    (monitor,) = [resource for resource in resources if resource["kind"] == "ServiceMonitor"]
    expected = monitor["spec"]["selector"]["matchLabels"].items()
    (service,) = [
        resource
        for resource in resources
        if resource["kind"] == "Service" and expected <= resource["metadata"]["labels"].items()
    ]
    ports = {port["name"] for port in service["spec"]["ports"]}
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports
