"""Ask PyPI what is known against the locked packages; say so where it cannot be asked.

pip-audit ends with 0 for packages that it could not find: behind a mirror without PyPI's JSON, all.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

OPTIONS = ("--no-deps", "--disable-pip", "--progress-spinner=off", "--format=json")


def main(files: list[str]) -> str | None:
    """Return what is wrong, or None."""
    named = (option for file in files for option in ("--requirement", file))
    program = str(Path(sys.executable).with_name("pip-audit"))
    ran = subprocess.run(  # noqa: S603 - our own program, and files that .ci/audit names
        [program, *OPTIONS, *named], capture_output=True, text=True, check=False
    )
    asked = json.loads(ran.stdout)["dependencies"] if ran.stdout else []
    skipped = [one["name"] for one in asked if "skip_reason" in one]
    if len(skipped) == len(asked):
        print("SKIPPED: PyPI's advisories cannot be reached from here; nothing was audited")
        return None
    known = [_told(one) for one in asked if one.get("vulns")]
    missing = [f"{name}: PyPI does not know it" for name in skipped]
    return "\n".join(known + missing) or None


def _told(package: dict[str, Any]) -> str:
    advisories = ", ".join(
        f"{one['id']} (fixed in {' '.join(one['fix_versions']) or 'no version'})"
        for one in package["vulns"]
    )
    return f"{package['name']} {package['version']}: {advisories}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
