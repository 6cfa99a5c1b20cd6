"""A real Prometheus on loopback, with the alert rules of vmapi and shorter times."""

import re
from pathlib import Path

import yaml

from tests.support.processes import ROOT, ServerProcess, require_program

RULES = ROOT / "deploy/prometheus/alerts.yml"


def require_promtool() -> str:
    """Return the path of promtool; skip without it, fail where TEST_REQUIRE names Prometheus."""
    return require_program("promtool", "prometheus")


def shorten(rules: str) -> str:
    """Return the rules with waits of a second, and rates of the last ten.

    An inventory is old after five seconds.
    """
    shorter = re.sub(r"\[\d+m\]", "[10s]", re.sub(r"\bfor: \d+m", "for: 1s", rules))
    return shorter.replace('{kind="changes"}) > 60', '{kind="changes"}) > 5')


class Prometheus(ServerProcess):
    """Prometheus, which scrapes some ports and evaluates the shortened rules."""

    def __init__(self, directory: Path, *targets: int) -> None:
        super().__init__(directory, "prometheus")
        self._targets = [f"127.0.0.1:{port}" for port in targets]

    def start(self) -> "Prometheus":
        """Start it, and wait until it answers queries."""
        program = require_program("prometheus", "prometheus")
        (self.directory / "alerts.yml").write_text(shorten(RULES.read_text()))
        config = {
            "global": dict.fromkeys(("scrape_interval", "evaluation_interval"), "1s"),
            "rule_files": ["alerts.yml"],
            "scrape_configs": [
                {"job_name": "vmapi", "static_configs": [{"targets": self._targets}]}
            ],
        }
        path = self.directory / "prometheus.yml"
        path.write_text(yaml.safe_dump(config))
        self.spawn(
            program,
            f"--config.file={path}",
            f"--storage.tsdb.path={self.directory}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
        )
        self.wait_for("/-/ready")
        return self

    def firing_alerts(self) -> set[str]:
        """Return the names of the alerts that fire."""
        alerts = self.call.get_json("/api/v1/alerts")["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}

    def query(self, expression: str) -> float:
        """Return the value of an expression with one result; 0 without a result."""
        body = f"query={expression}".encode()
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        response = self.call("POST", "/api/v1/query", body=body, headers=form)
        assert response.status == 200, response
        results = response.json["data"]["result"]
        assert len(results) < 2, results
        return float(results[0]["value"][1]) if results else 0.0
