"""Checks the locked packages against the advisories of PyPI, for `.ci/audit`.

pip-audit exits with 0 for packages that it could not find. Behind a mirror without PyPI's JSON API
that is every package: then this script says that it checked nothing.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

OPTIONS = ("--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json")


def main(files: list[str]) -> str | None:
    """Return the advisories as text, or None if there are none."""
    requirements = (option for file in files for option in ("--requirement", file))
    program = str(Path(sys.executable).with_name("pip-audit"))
    # a program of the virtual environment, with files that .ci/audit names
    result = subprocess.run(  # noqa: S603
        [program, *OPTIONS, *requirements], capture_output=True, text=True, check=False
    )
    packages = json.loads(result.stdout)["dependencies"] if result.stdout else []
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if len(skipped) == len(packages):
        print("SKIPPED: PyPI's advisories are unreachable; nothing was checked")
        return None
    vulnerable = [_describe(package) for package in packages if package.get("vulns")]
    missing = [f"{name}: PyPI does not know it" for name in skipped]
    return "\n".join(vulnerable + missing) or None


def _describe(package: dict[str, Any]) -> str:
    advisories = ", ".join(
        f"{advisory['id']} (fixed in {' '.join(advisory['fix_versions']) or 'no version'})"
        for advisory in package["vulns"]
    )
    return f"{package['name']} {package['version']}: {advisories}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
