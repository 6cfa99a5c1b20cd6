"""Secrets of clients: never in the database."""

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path

from flask import Flask

from tests.support.api_harness import BASE, CREATE_BODY

SECRET = "hunter2-in-user-data"
TOKENS = {"Authorization": f"Bearer {SECRET}", "X-Auth-Token": SECRET, "Cookie": f"a={SECRET}"}
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHunter2InAnSshKeyHunter2InAnSshKey me@there"


def test_database_contains_no_secret(serve_app: Callable[..., Flask], tmp_path: Path) -> None:
    folder = tmp_path / "database"
    url = f"sqlite:///{folder}/vmapi.sqlite3"
    app = serve_app(database_url=url, audit_key="k" * 32)
    client = app.test_client()
    secret = {"user_data": f"#cloud-config\npassword: {SECRET}\n", "ssh_keys": [SSH_KEY]}
    create_body = {**CREATE_BODY, "metadata": {"team": "metadata-is-no-secret"}, **secret}
    key = {"Idempotency-Key": "k-1"}
    for body, headers, status in [
        (create_body, key, 201),
        (create_body, key, 201),
        (create_body, {}, 409),
        ({**create_body, "name": "web-2", "key_name": "unknown-key"}, {}, 422),
        ({**create_body, "name": "web-3", "start": True}, {}, 201),
        ({**create_body, "name": "web-4", "flavor": "none"}, {"Idempotency-Key": "k-2"}, 422),
    ]:
        response = client.post(f"{BASE}/vms", json=body, headers=headers | TOKENS)
        assert response.status_code == status, response.text
    app.extensions["vmapi"].periodic_tasks["maintenance"]()
    for vm in client.get(f"{BASE}/vms").json["items"]:
        assert client.delete(f"{BASE}/vms/{vm['id']}").status_code == 204
    check_files(folder)
    app.extensions["vmapi"].store.close()
    check_files(folder)


def check_files(folder: Path) -> None:
    database = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    assert b"web-3" in database
    for secret in (SECRET, SSH_KEY.split()[1], "cloud-config", "k" * 32):
        assert secret.encode() not in database
        for before in range(3):
            encoded = b64encode(b"-" * before + secret.encode())
            assert encoded[4:-4] not in database
