"""The support bundle: complete, private, and without any secret or text of a user."""

import errno
import json
import stat
import tarfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from click.testing import Result
from flask import Flask

from tests.support.factories import VM_1
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.cli.support_sections import SHOWN_SETTINGS
from vmapi.domain.access.roles import Role
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import Operation, OperationError, OperationStatus, Step
from vmapi.domain.vm import VMPatch
from vmapi.errors import BackendError, BackendUnavailable
from vmapi.settings.settings import DECLARATIONS, Settings

SECRET = "hunter2"
PRIVATE = "zaphod"
"""Part of the texts that users and operators choose."""

PLANTED_SETTINGS = {
    "VMAPI_BIND": f"unix:/run/{PRIVATE}.sock",
    "VMAPI_METRICS_BIND": f"{PRIVATE}.example.org:9464",
    "VMAPI_WORKER_METRICS_BIND": f"{PRIVATE}.example.org:9465",
    "VMAPI_CORS_ORIGINS": f"https://{PRIVATE}.example.org",
    "VMAPI_JWT_ISSUER": f"https://{PRIVATE}.example.org",
    "VMAPI_JWT_AUDIENCE": PRIVATE,
    "VMAPI_JWT_TYPES": PRIVATE,
    "VMAPI_JWT_SUBJECT_CLAIM": PRIVATE,
    "VMAPI_JWT_ROLE_CLAIM": PRIVATE,
    "VMAPI_JWT_ROLES": f"{PRIVATE}=viewer",
    "VMAPI_JWT_PROJECT_CLAIM": PRIVATE,
    "VMAPI_KEYSTONE_URL": f"https://{PRIVATE}.example.org/v3",
    "VMAPI_KEYSTONE_CACERT": f"/{PRIVATE}.pem",
    "VMAPI_KEYSTONE_ROLES": f"{PRIVATE}=viewer",
    "VMAPI_BROKER_URL": f"amqp://u:{SECRET}@127.0.0.1:1//",
    "VMAPI_AUDIT_KEY": SECRET * 5,
    "VMAPI_AUDIT_OLD_KEYS": SECRET * 5,
    "VMAPI_DEFAULT_PROJECT": PRIVATE,
    "VMAPI_QUOTAS": f"{PRIVATE}:vms=1",
    "VMAPI_RATE_STORAGE": f"redis://:{SECRET}@127.0.0.1:1/0",
    "VMAPI_DEFAULT_NETWORK": PRIVATE,
    "OS_CLOUD": PRIVATE,
    "OPENSTACK_AUTH_URL": f"https://{PRIVATE}.example.org/v3",
    "OPENSTACK_USERNAME": PRIVATE,
    "OPENSTACK_PASSWORD": SECRET,
    "OPENSTACK_PROJECT": PRIVATE,
}
NOW = datetime.now(UTC)


class TalkativeBackend(MemoryBackend):
    """A cloud that repeats secrets and names in its errors and its description."""

    def ping(self) -> None:
        raise BackendUnavailable(f"The cloud's login of u:{SECRET} at 'web-{PRIVATE}' failed.")

    def describe(self) -> dict[str, str]:
        return {
            "backend": "openstack",
            "project": PRIVATE,
            "cloud": PRIVATE,
            "sees": "all projects",
        }


def build_app(folder: Path, backend: MemoryBackend | None = None, **settings: str) -> Flask:
    url = f"sqlite:////{folder}/{SECRET}.sqlite3"
    environ = {"VMAPI_DATABASE_URL": url, "LOG_LEVEL": "CRITICAL", **settings}
    loaded = Settings.from_environ(environ)
    return create_app(loaded, backend or MemoryBackend())


def run(app: Flask, *args: str) -> Result:
    with app.app_context():
        return app.test_cli_runner().invoke(args=("support-bundle", *args))


def read_bundle(path: Path) -> dict[str, bytes]:
    """Return the content of each file, by name."""
    with tarfile.open(path, "r:gz") as tar:
        names = tar.getnames()
        contents = [file.read() for name in names if (file := tar.extractfile(name))]
    short_names = [name.removeprefix("vmapi-support/") for name in names]
    return dict(zip(short_names, contents, strict=True))


def read_section(path: Path, name: str) -> Any:
    return json.loads(read_bundle(path)[f"{name}.json"])


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "bundle.tar.gz"


@pytest.fixture
def user_data(tmp_path: Path) -> str:
    """Fill a database with texts of users, and return an API token."""
    app = build_app(tmp_path)
    services = app.extensions["vmapi"]
    store = services.store
    vm = replace(VM_1, name=f"web-{PRIVATE}", metadata={f"key-{PRIVATE}": f"plain {PRIVATE} text"})
    store.inventory.save_observations([vm], store.inventory.observation_time())
    operation = Operation(
        id="op-1",
        action=Action.UPDATE,
        steps=(Step(Verb.UPDATE),),
        created_at=NOW,
        requested_by=f"alice-{PRIVATE}",
        request_id="req-1",
        project=f"project-{PRIVATE}",
        vm_id=vm.id,
        address=PRIVATE,
        reserved_name=f"new-{PRIVATE}",
        patch=VMPatch(f"new-{PRIVATE}", {"note": f"patched {PRIVATE} text"}),
    )
    store.operations.add(operation)
    texts = f"web-{PRIVATE}, plain {PRIVATE} text and patched {PRIVATE} text"
    detail = f"Nova says 'a {PRIVATE}' about {texts}"
    store.operation_administration.record_failure([operation], BackendError(detail))
    error = OperationError("backend_error", f"{detail}, of alice-{PRIVATE} for new-{PRIVATE}.")
    failed = replace(operation, status=OperationStatus.FAILED, finished_at=NOW, error=error)
    store.operations.save(failed)
    token, _ = services.api_tokens.create(PRIVATE, Role.ADMIN, PRIVATE, None, f"cli:{PRIVATE}")
    store.close()
    return token


def test_bundle_is_private_and_complete(tmp_path: Path, target: Path) -> None:
    app = build_app(tmp_path)
    app.extensions["vmapi"].store.ping()
    result = run(app, str(target))
    assert (result.exit_code, result.stdout) == (0, f"{target}\n")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(read_bundle(target)) == [
        "README",
        *("database.json", "health.json", "operations.json", "settings.json", "versions.json"),
    ]
    assert read_section(target, "health")["cloud"]["status"] == "ok"
    assert read_section(target, "database")["problems"] == []
    assert read_section(target, "database")["rows"]["operations"] == 0
    assert read_section(target, "versions")["packages"]["SQLAlchemy"]


def test_existing_file_is_not_overwritten(tmp_path: Path, target: Path) -> None:
    target.write_text("precious")
    result = run(build_app(tmp_path), str(target))
    assert (result.exit_code, result.stderr) == (1, f"Error: {target}: File exists\n")
    assert target.read_text() == "precious"


def test_full_disk_leaves_no_file(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("vmapi.cli.support_bundle.pack", Mock(side_effect=error))
    result = run(build_app(tmp_path), str(target))
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        1,
        "Error: the output cannot be written: No space left on device",
    )
    assert not target.exists()


def test_bundle_has_no_planted_secret(
    tmp_path: Path, target: Path, user_data: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**PLANTED_SETTINGS, "VMAPI_AUTH": "token"}
    app = build_app(tmp_path, TalkativeBackend(), **settings)
    monkeypatch.setenv("OS_APPLICATION_CREDENTIAL_SECRET", f"{SECRET}-too")
    result = run(app, str(target))
    assert result.exit_code == 0, result.output
    for name, content in read_bundle(target).items():
        for text in (SECRET, PRIVATE):
            assert text.encode() not in content, (name, content)
        assert user_data.encode() not in content
    (failed,) = read_section(target, "operations")["failed"]
    assert (failed["id"], failed["error"]["code"]) == ("op-1", "backend_error")
    # the words of vmapi and of the cloud remain
    assert failed["error"]["detail"].startswith("Nova says (hidden) about (hidden), (hidden) and")
    assert failed["last_failure"]["code"] == "backend_error"
    health = read_section(target, "health")
    assert health["cloud"]["detail"] == "The cloud's login of u:(hidden) at (hidden) failed."
    assert health["cloud_members"]["sees"] == "all projects"


def test_planted_settings_are_all_that_are_not_shown() -> None:
    names = {declared.name for declared in DECLARATIONS.values()}
    assert names >= SHOWN_SETTINGS
    assert names - SHOWN_SETTINGS == {*PLANTED_SETTINGS, "VMAPI_DATABASE_URL"}


def test_settings_say_which_are_set(tmp_path: Path, target: Path) -> None:
    app = build_app(tmp_path, VMAPI_THREADS="16", VMAPI_DEFAULT_NETWORK="private")
    run(app, str(target))
    settings = read_section(target, "settings")
    assert settings["VMAPI_THREADS"] == "16"
    assert settings["VMAPI_DEFAULT_NETWORK"] == "set, (hidden)"
    assert settings["OPENSTACK_PASSWORD"] == ""


def test_unreadable_section_does_not_end_the_others(tmp_path: Path, target: Path) -> None:
    app = build_app(tmp_path, VMAPI_DATABASE_URL=f"postgresql+psycopg://u:{SECRET}@127.0.0.1:1/n")
    result = run(app, str(target))
    assert result.exit_code == 0
    assert read_section(target, "health")["database"]["status"] == "store_unavailable"
    for name in ("database", "operations"):
        assert "vmapi's database does not answer" in read_section(target, name)["unreadable"]
        assert f"{name}: vmapi's database does not answer" in result.stderr
    assert SECRET.encode() not in b"".join(read_bundle(target).values())


@pytest.mark.parametrize("url", ["", "sqlite:////{folder}/missing.sqlite3"])
def test_missing_database_is_not_created(tmp_path: Path, target: Path, url: str) -> None:
    app = build_app(tmp_path, VMAPI_DATABASE_URL=url.format(folder=tmp_path))
    assert run(app, str(target)).exit_code == 0
    assert read_section(target, "database") == {"unreadable": "there is no database"}
    assert sorted(tmp_path.iterdir()) == [target]
