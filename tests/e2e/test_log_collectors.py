"""The files of `deploy/logs`: each parsing rule on real lines of every kind."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.http_client import send_raw, wait_until
from tests.support.log_collectors import run_alloy, run_ingest_pipeline, run_vrl
from tests.support.processes import ROOT, Gunicorn, build_environment
from vmapi.telemetry.messages.collector import LEVELS

FOLDER = ROOT / "deploy/logs"
TEXT_LINE = "vmapi does not start: VMAPI_THREADS '0': allowed is a whole number from 2 to 256"
IDS = ("request_id", "operation_id", "vm_id", "trace_id", "span_id")
OTHER_LINES = """
import threading, warnings
import structlog
from vmapi.telemetry.logging import configure
from vmapi.telemetry.uncaught import log_uncaught_errors

configure("DEBUG", serves=True)
log_uncaught_errors()
warnings.warn("a text of\\ntwo lines", UserWarning)
traced = {"trace_id": "0af7651916cd43dd8448eb211c80319c", "span_id": "b7ad6b7169203331"}
structlog.get_logger("vmapi.test").debug("traced", **traced)
structlog.get_logger("vmapi.test").error("failed", reason="a reason")
raise ValueError("first\\nsecond")
"""


def write_lines_of_a_server(server: Gunicorn) -> list[str]:
    """Run a server and return its lines: gunicorn's, requests, an operation, a bad request."""
    server.start().wait_for("/readyz")
    body = {"name": "log-1", "flavor": "m1.tiny", "image": "cirros"}
    operation = server.call("POST", "/api/v1/vms", body).headers["Operation-Location"]
    wait_until("a VM", lambda: server.call.get_json(operation)["finished_at"])
    send_raw(server.port, b"G\x1bT / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    wait_until("the bad request", lambda: "could not be parsed" in server.read_log())
    server.stop()
    return server.read_log().splitlines()


def write_lines_of_a_failing_process() -> list[str]:
    command = (sys.executable, "-c", OTHER_LINES)
    ended = subprocess.run(
        command, check=False, capture_output=True, text=True, env=build_environment()
    )
    return ended.stdout.splitlines()


@pytest.fixture(scope="module")
def lines(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[str]]:
    server = Gunicorn(tmp_path_factory.mktemp("server"))
    yield [*write_lines_of_a_server(server), *write_lines_of_a_failing_process()]
    server.stop()


def read(path: str) -> Any:
    text = (FOLDER / path).read_text()
    return json.loads(text) if Path(path).suffix == ".json" else yaml.safe_load(text)


def collect(lines: list[str], parse: Callable[[str], Any]) -> list[tuple[dict[str, Any], Any]]:
    return [(json.loads(line), parse(line)) for line in lines]


def test_lines_are_of_every_kind(lines: list[str]) -> None:
    parsed = [json.loads(line) for line in lines]
    messages = {line["message"].split(" ")[0] for line in parsed}
    assert {"Starting", "Booting", "ready", "request", "vm", "Shutting"} <= messages
    assert {"uncaught", "Python", "traced"} <= messages
    assert {line["level"] for line in parsed} == set(LEVELS)
    for line in parsed:
        assert {"timestamp", "level", "logger", "message"} <= set(line)
        assert datetime.fromisoformat(line["timestamp"]).utcoffset() == timedelta(0)


def test_alloy_sets_time_labels_and_metadata(lines: list[str]) -> None:
    config = (FOLDER / "config.alloy").read_text()
    source = {"job": "vmapi", "level": "error"}
    for line, entry in collect(lines, lambda text: run_alloy(config, text, source)):
        assert entry["timestamp"] == datetime.fromisoformat(line["timestamp"])
        labels = {"level": line["level"], "logger": line["logger"]}
        assert entry["labels"] == {"job": "vmapi", **labels}
        expected = {name: line[name] for name in IDS if line.get(name) is not None}
        assert entry["metadata"] == expected
    refused = run_alloy(config, TEXT_LINE, source)
    assert refused == {"timestamp": None, "labels": source, "metadata": {}}


def run_vector(line: str) -> dict[str, Any]:
    transforms = read("vector.yaml")["transforms"]
    event = {"message": line, "host": "a", "_SYSTEMD_UNIT": "vmapi.service", "PRIORITY": "6"}
    for name in ("vmapi_text", "vmapi_lines"):
        event = run_vrl(transforms[name]["source"], event)
    return event


def test_vector_replaces_the_event_by_the_line(lines: list[str]) -> None:
    for line, event in collect(lines, run_vector):
        logged_at = datetime.fromisoformat(line["timestamp"])
        unit = {"host": "a", "unit": "vmapi.service"}
        assert event == {**line, **unit, "timestamp": logged_at}
    refused = run_vector(TEXT_LINE)
    assert (refused["message"], refused["level"]) == (TEXT_LINE, "error")


def test_elastic_pipeline_renames_fields_to_ecs(lines: list[str]) -> None:
    pipeline = read("elastic/ingest-pipeline.json")

    def parse(text: str) -> Any:
        return run_ingest_pipeline(pipeline, {"message": text})

    for line, document in collect(lines, parse):
        logged_at = datetime.fromisoformat(line["timestamp"])
        assert (document["@timestamp"], document["message"]) == (logged_at, line["message"])
        fields = (document["log.level"], document["log.logger"])
        assert fields == (line["level"], line["logger"])
        renamed = {
            "http.request.id": "request_id",
            "http.response.status_code": "status",
            "error.stack_trace": "exception",
            "trace.id": "trace_id",
        }
        for field, member in renamed.items():
            assert document.get(field) == line.get(member)
    assert parse(TEXT_LINE) == {"message": TEXT_LINE, "log.level": "error"}


def test_labels_have_few_values() -> None:
    labels = read("vector.yaml")["sinks"]["loki"]["labels"]
    assert set(labels) == {"job", "unit", "level", "logger"}


def test_lines_are_deleted_after_a_time() -> None:
    loki = read("loki.yaml")
    assert loki["compactor"]["retention_enabled"]
    assert loki["limits_config"]["retention_period"] == "720h"
    assert loki["schema_config"]["configs"][0]["schema"] == "v13"
    phases = read("elastic/lifecycle-policy.json")["policy"]["phases"]
    assert phases["delete"] == {"min_age": "30d", "actions": {"delete": {}}}
    settings = read("elastic/index-template.json")["template"]["settings"]
    output = read("elastic/filebeat.yml")["output.elasticsearch"]
    assert settings["index.lifecycle.name"] == "vmapi-logs"
    assert settings["index.default_pipeline"] == output["pipeline"] == "vmapi-logs"
