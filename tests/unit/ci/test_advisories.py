"""The check of advisories: clean packages, vulnerable packages, PyPI unreachable."""

import json
import runpy
import subprocess
from typing import Any

import pytest

from tests.support.processes import ROOT

CLEAN = {"name": "flask", "version": "3.1.3", "vulns": []}
UNKNOWN = {"name": "private-package", "skip_reason": "Dependency not found on PyPI"}
VULNERABLE = {
    "name": "jinja2",
    "version": "2.4.1",
    "vulns": [
        {"id": "PYSEC-2014-8", "fix_versions": ["2.7.2"]},
        {"id": "PYSEC-2026-1", "fix_versions": []},
    ],
}


@pytest.mark.parametrize(
    ("packages", "report", "is_skipped"),
    [
        ([CLEAN], None, False),
        ([CLEAN, UNKNOWN], "private-package: PyPI does not know it", False),
        (
            [CLEAN, VULNERABLE],
            "jinja2 2.4.1: PYSEC-2014-8 (fixed in 2.7.2), PYSEC-2026-1 (fixed in no version)",
            False,
        ),
        ([UNKNOWN, UNKNOWN], None, True),
        (None, None, True),
    ],
)
def test_report_lists_advisories_and_unknown_packages(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    packages: list[Any] | None,
    report: str | None,
    is_skipped: bool,
) -> None:
    output = "" if packages is None else json.dumps({"dependencies": packages, "fixes": []})
    result = subprocess.CompletedProcess([], 1, output, "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: result)
    main = runpy.run_path(str(ROOT / ".ci/advisories.py"))["main"]
    assert main(["requirements.txt"]) == report
    assert capsys.readouterr().out.startswith("SKIPPED: PyPI's advisories") == is_skipped
