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
# the log goes to stdout, from a thread
print(*(name for name in sys.argv[1:] if name in sys.modules), file=sys.stderr)
"""
UNUSED = (
    *("rich", "pygments", "openstack", "keystoneauth1", "requests", "cryptography"),
    *("sqlalchemy", "alembic", "psycopg", "celery", "kombu", "redis"),
)


def test_start_of_the_server_imports_no_optional_library() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", SERVE, *UNUSED],
        env=build_environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT_SECONDS,
    )
    assert ran.stderr.splitlines()[-1] == ""
