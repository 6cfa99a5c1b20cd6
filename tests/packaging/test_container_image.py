"""The container image: built on a Debian from debootstrap, and run as its file says."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.debian import WHEELS, Container
from tests.support.doc_scripts import api_url, run_session
from tests.support.processes import ROOT, require_program

BASE = "localhost/debian:bookworm"
IMAGE = "localhost/vmapi:test"
BUILD_SECONDS = 600.0


class Buildah:
    """Buildah with a storage folder of the test; it needs no container runtime."""

    def __init__(self, folder: Path) -> None:
        self._program = require_program("buildah", "buildah")
        storage = folder / "storage.conf"
        storage.write_text(
            '[storage]\ndriver = "overlay"\n'
            f'runroot = "{folder}/run"\ngraphroot = "{folder}/graph"\n'
        )
        self._env = {**os.environ, "CONTAINERS_STORAGE_CONF": str(storage)}

    def __call__(self, *arguments: str) -> str:
        """Run a command of buildah, and return its output."""
        ran = subprocess.run(
            [self._program, *arguments],
            cwd=ROOT,
            env=self._env,
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
        )
        assert ran.returncode == 0, f"{arguments}\n{(ran.stdout + ran.stderr)[-6000:]}"
        return ran.stdout.strip()


@pytest.fixture(scope="module")
def buildah(debian: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Buildah]:
    """Build the image."""
    folder = tmp_path_factory.mktemp("buildah")
    buildah = Buildah(folder)
    base = buildah("from", "scratch")
    buildah("add", "--quiet", base, str(debian), "/")
    buildah("commit", "--quiet", base, BASE)
    mounts = (f"{debian / WHEELS}:/{WHEELS}:ro", f"{debian}/etc/pip.conf:/etc/pip.conf:ro")
    buildah(
        *("bud", "--isolation", "chroot", "--format", "docker", "--layers=false", "--quiet"),
        *(option for mount in mounts for option in ("--volume", mount)),
        *("--build-arg", f"BASE={BASE}", "--tag", IMAGE),
        *("--file", "deploy/container/Containerfile", "."),
    )
    yield buildah
    buildah("rm", "--all")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def config(buildah: Buildah) -> Any:
    """Return the configuration of the image."""
    return json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]


@pytest.fixture
def container(buildah: Buildah, config: Any, tmp_path: Path) -> Iterator[Container]:
    """Return a container of the image, not started."""
    root = buildah("mount", buildah("from", IMAGE))
    env = dict(pair.split("=", 1) for pair in config["Env"])
    container = Container(tmp_path, root, config["User"], env)
    yield container
    container.stop()


def test_image_runs_without_root_and_has_a_health_check(config: Any) -> None:
    assert config["User"] == "10001:10001"
    assert [*config["Entrypoint"], *config["Cmd"]] == ["/opt/vmapi/bin/vmapi", "serve"]
    assert list(config["Volumes"]) == ["/var/lib/vmapi"]
    assert config["Healthcheck"]["Test"][0] == "CMD"


def test_session_of_the_readme_runs_against_the_image(
    container: Container, config: Any, tmp_path: Path
) -> None:
    program, serve = *config["Entrypoint"], *config["Cmd"]
    created = container.run(program, "token", "create", "--subject", "me", "--role", "admin")
    token = created.splitlines()[-1]
    container.start(program, serve).wait_for("/readyz")
    session = run_session(tmp_path, api_url(container.port), TOKEN=token)
    assert session.stdout.splitlines()[-1] == "web-1 is deleted"
    healthy = container.enter(*config["Healthcheck"]["Test"][1:])
    assert healthy.returncode == 0, healthy.stderr
    for path in ("/usr", "/opt/vmapi", "/etc"):
        refused = container.enter("sh", "-c", f"touch {shlex.quote(path)}/new")
        assert "Read-only file system" in refused.stderr
    status = container.enter("cat", "/proc/1/status").stdout
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["Uid"].split() == ["10001"] * 4
    assert int(fields["CapEff"], 16) == int(fields["CapBnd"], 16) == 0
    assert fields["NoNewPrivs"] == "1"


def test_image_has_no_build_tools(container: Container) -> None:
    listed = container.run("/bin/sh", "-c", "ls /opt/vmapi/bin /opt/vmapi/lib/python3*/*/")
    names = {line.split("-")[0] for line in listed.split()}
    assert "vmapi" in names
    assert not names & {"pip", "pip3", "setuptools"}
