"""The alert rules: valid, tested by promtool, explained, and about metrics that exist."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.http_client import WAIT_SECONDS
from tests.support.metrics import series_names
from tests.support.processes import ROOT
from tests.support.prometheus import RULES, require_promtool

FOLDER = RULES.parent
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
}


def run_promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = (require_promtool(), *arguments)
    return subprocess.run(
        command, cwd=FOLDER, capture_output=True, text=True, check=False, timeout=WAIT_SECONDS
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "rules", "alerts.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_promtool_accepts_the_files(arguments: tuple[str, ...]) -> None:
    ran = run_promtool(*arguments)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_each_alert_has_a_case_of_promtool() -> None:
    cases = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    assert [case["name"] for case in cases] == ["a healthy installation", *ALERTS]


def test_promtool_notices_each_rule_that_does_not_fire(tmp_path: Path) -> None:
    (tmp_path / "alerts.yml").write_text("groups: []")
    cases = shutil.copy(FOLDER / "alerts_test.yml", tmp_path)
    ran = run_promtool("test", "rules", str(cases))
    assert ran.returncode == 1
    # each case reports the one alert that it expects
    missing = re.findall(r'exp: \{.*alertname="(\w+)".*\} .*\n +got: nil', ran.stdout + ran.stderr)
    assert missing == list(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_alert_is_about_metrics_that_exist(name: str) -> None:
    used = set(re.findall(r"\b(?:vmapi_\w+|up)\b", ALERTS[name]["expr"]))
    assert used
    assert used <= {*series_names(), "up"}


@pytest.mark.parametrize("name", ALERTS)
def test_alert_has_a_severity_and_a_section_of_the_page(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("critical", "warning")
    page, _, anchor = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^### (\w+)$", (ROOT / page).read_text(), re.M)
    assert name in headings
    assert anchor == name.lower()


def test_page_explains_no_alert_that_does_not_exist() -> None:
    page = (ROOT / "docs/how-to/monitor.md").read_text()
    assert set(re.findall(r"^### (Vmapi\w+)$", page, re.M)) == set(ALERTS)
