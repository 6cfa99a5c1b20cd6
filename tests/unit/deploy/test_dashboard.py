"""The dashboard: valid by Grafana's own schema, and about metrics that exist.

The SDK of Grafana decodes the dashboard with the classes that are generated from Grafana's schema,
and drops members that the schema does not have.
"""

import json
import re
import subprocess
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.support.http_client import WAIT_SECONDS
from tests.support.metrics import series_names
from tests.support.processes import ROOT
from tests.support.prometheus import require_promtool
from vmapi.telemetry.metrics.catalog import METRICS

DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/vmapi.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def expressions() -> list[str]:
    annotations = [annotation["expr"] for annotation in DASHBOARD["annotations"]["list"]]
    return annotations + [target["expr"] for panel in PANELS for target in panel["targets"]]


def find_lost(document: Any, decoded: Any, path: str = "") -> Iterator[str]:
    """Return the paths of the members that the SDK has dropped or changed."""
    if isinstance(document, dict) and isinstance(decoded, dict):
        for name, value in document.items():
            yield from find_lost(value, decoded.get(name), f"{path}/{name}")
    elif isinstance(document, list) and isinstance(decoded, list):
        for number, value in enumerate(document):
            yield from find_lost(value, (*decoded, None)[number], f"{path}/{number}")
    elif document != decoded:
        yield path


def decode(document: dict[str, Any]) -> Any:
    register_default_plugins()
    return json.loads(JSONEncoder().encode(Dashboard.from_json(document)))


def test_every_member_is_in_the_schema_of_grafana() -> None:
    assert list(find_lost(DASHBOARD, decode(DASHBOARD))) == []


def test_member_that_the_schema_lacks_is_found() -> None:
    document = deepcopy(DASHBOARD)
    document["panels"][1]["invented"] = document["invented"] = 1
    document["panels"][1]["options"]["invented"] = 1
    paths = ["/panels/1/options/invented", "/panels/1/invented", "/invented"]
    assert sorted(find_lost(document, decode(document))) == sorted(paths)


def test_expressions_are_valid(tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": text.replace("$__rate_interval", "5m")}
        for number, text in enumerate(expressions())
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    command = (require_promtool(), "check", "rules", str(path))
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_SECONDS)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_panels_show_all_metrics_and_no_others() -> None:
    used = set(re.findall(r"\bvmapi_\w+", " ".join(expressions())))
    assert used <= series_names()
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for name in used}
    # the alert has it: there is nothing to draw
    assert {metric.name for metric in METRICS} - shown == {
        *("vmapi_database_up", "vmapi_leader_leases", "vmapi_operations_abandoned_total")
    }


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_panel_uses_the_selected_data_source_and_installation(panel: dict[str, Any]) -> None:
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert 'job=~"$job"' in target["expr"]


def test_ids_of_panels_are_unique() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
