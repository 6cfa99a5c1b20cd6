"""The environment of the processes that the tests start."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
REMOVED_VARIABLES = re.compile(
    r"VMAPI_|OS_|OTEL_|OPENSTACK_|API_VERSION|LOG_LEVEL|WEB_CONCURRENCY|GUNICORN|FLASK|PYTEST"
    r"|PYTHONDONTWRITEBYTECODE"
)


def build_environment(**settings: str) -> dict[str, str]:
    """Return the environment of this process with these settings of vmapi, and no others.

    Processes write compiled modules: each start would compile all of them otherwise.
    """
    variables = os.environ.items()
    inherited = {name: value for name, value in variables if not REMOVED_VARIABLES.match(name)}
    return {**inherited, "PYTHONPATH": f"{ROOT}:{ROOT}/clients/python", **settings}
