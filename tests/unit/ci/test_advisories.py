"""What CI makes of pip-audit: nothing known, something known, or nobody asked."""

import json
import runpy
import subprocess
from typing import Any

import pytest

from tests.support.processes import ROOT

CLEAN = {"name": "flask", "version": "3.1.3", "vulns": []}
LOST = {"name": "ours", "skip_reason": "Dependency not found on PyPI"}
WEAK = {
    "name": "jinja2",
    "version": "2.4.1",
    "vulns": [
        {"id": "PYSEC-2014-8", "fix_versions": ["2.7.2"]},
        {"id": "PYSEC-2026-1", "fix_versions": []},
    ],
}


@pytest.mark.parametrize(
    ("found", "told", "skips"),
    [
        ([CLEAN], None, False),
        ([CLEAN, LOST], "ours: PyPI does not know it", False),
        (
            [CLEAN, WEAK],
            "jinja2 2.4.1: PYSEC-2014-8 (fixed in 2.7.2), PYSEC-2026-1 (fixed in no version)",
            False,
        ),
        ([LOST, LOST], None, True),
        (None, None, True),
    ],
)
def test_what_is_made_of_the_answer(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    found: list[Any] | None,
    told: str | None,
    skips: bool,
) -> None:
    shown = "" if found is None else json.dumps({"dependencies": found, "fixes": []})
    ran = subprocess.CompletedProcess([], 1, shown, "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: ran)
    main = runpy.run_path(str(ROOT / ".ci/advisories.py"))["main"]
    assert main(["requirements.txt"]) == told
    assert capsys.readouterr().out.startswith("SKIPPED: PyPI's advisories") == skips
