"""What serving the memory cloud loads: nothing that it does not use."""

import subprocess
import sys

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import ROOT, build_environment

SERVE = """
import runpy, sys

class WithoutRich:
    # a dependency of the test tools only; structlog imports it where it is installed
    @staticmethod
    def find_spec(name, *_):
        if name == "rich":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, WithoutRich)
runpy.run_path("config/gunicorn.conf.py")
import vmapi.server.logger, vmapi.server.worker, wsgi
"""
REQUEST = """
client = wsgi.app.test_client()
create_body = {"name": "web", "flavor": "m1.tiny", "image": "cirros"}
assert client.post("/api/v1/vms", json=create_body).status_code == 201
assert client.get("/api/v1/vms").json["total"] == 1
"""
REPORT = """
# the log goes to stdout, from a thread
print(*(name for name in sys.argv[1:] if name in sys.modules), file=sys.stderr)
"""
UNUSED = (
    *("rich", "pygments", "openstack", "keystoneauth1", "requests", "cryptography"),
    *("sqlalchemy", "alembic", "psycopg", "celery", "kombu", "redis"),
    *("opentelemetry", "google.protobuf"),
)


UNUSED_BY_REQUESTS = ("sqlalchemy.dialects.postgresql", "sqlalchemy.orm", "psycopg", "email.policy")


def find_loaded(script: str, *names: str) -> str:
    """Run a script, and return those of the modules that it loads."""
    ran = subprocess.run(
        [sys.executable, "-c", script, *names],
        env=build_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT_SECONDS,
    )
    return ran.stderr.splitlines()[-1]


def test_start_of_the_server_imports_no_optional_library() -> None:
    assert find_loaded(SERVE + REPORT, *UNUSED) == ""


def test_requests_on_sqlite_import_no_other_dialect_and_no_mime_types() -> None:
    assert find_loaded(SERVE + REQUEST + REPORT, *UNUSED_BY_REQUESTS, "sqlalchemy") == "sqlalchemy"
