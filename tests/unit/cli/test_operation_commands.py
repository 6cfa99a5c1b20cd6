"""The commands `operations list`, `show`, `retry` and `fail`."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from tests.support.audit_rows import audit_rows
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.bulk import BulkItem, BulkOperation
from vmapi.domain.lifecycle import Action, Verb
from vmapi.domain.operation import Operation, OperationStatus, Step, StepState
from vmapi.errors import BackendTimeout
from vmapi.settings.settings import Settings
from vmapi.store.store import Store

NOW = datetime(2026, 2, 25, 10, 30, tzinfo=UTC)


class CommandHarness:
    """A store with operations, and commands that another process runs on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = Store(url, 2, lambda: NOW)
        self.apps: list[Flask] = []

    def add(self, id: str, *states: StepState, **fields: Any) -> Operation:
        verbs = [Verb.RESUME, Verb.STOP][-len(states) :]
        steps = [
            Step(verb, state, f"req-{verb}", NOW) for verb, state in zip(verbs, states, strict=True)
        ]
        defaults = {"vm_id": f"vm-{id}", "status": OperationStatus.RUNNING}
        operation = Operation(
            id=id,
            action=Action.STOP,
            steps=tuple(steps),
            created_at=NOW,
            requested_by="alice\x1b[31m",
            request_id="r",
            **defaults | fields,
        )
        self.store.operations.add(operation)
        return operation

    def add_bulk(self, id: str) -> None:
        parts = {
            name: Operation(
                id=name,
                action=Action.STOP,
                steps=(Step(Verb.STOP),),
                created_at=NOW,
                requested_by="alice",
                request_id="r",
                vm_id=f"vm-{name}",
                bulk_id=id,
            )
            for name in ("part-1", "part-2")
        }
        items = tuple(BulkItem(f"vm-{name}", name) for name in parts)
        bulk = BulkOperation(id, Action.STOP, items, NOW, "alice", "r", "default", operations=parts)
        self.store.operations.bulk.add(bulk)

    def run(self, *args: str, text: str | None = None) -> Result:
        settings = Settings(log_level="CRITICAL", database_url=self.url)
        app = create_app(settings, MemoryBackend())
        self.apps.append(app)
        with app.app_context():
            result = app.test_cli_runner().invoke(args=("operations", *args), input=text)
        app.extensions["vmapi"].store.close()
        return result

    def get_document(self, *args: str) -> Any:
        result = self.run(*args, "--json")
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout)


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[CommandHarness]:
    harness = CommandHarness(f"sqlite:///{tmp_path}/vmapi.sqlite3")
    yield harness
    harness.store.close()


def test_list_shows_step_attempts_and_the_last_error(harness: CommandHarness) -> None:
    operation = harness.add("op-1", StepState.DONE, StepState.ACCEPTED)
    harness.store.operation_administration.record_failure([operation], BackendTimeout("Late."))
    header, row = harness.run("list").stdout.splitlines()
    assert header.split("  ")[0] == "id"
    assert "  stop accepted (2/2)  " in row
    assert row.endswith("  1                yes        vm-op-1  backend_timeout: Late.")
    (document,) = harness.get_document("list")
    assert document["steps"][1] == {
        "verb": "stop",
        "state": "accepted",
        "started_at": "2026-02-25T10:30:00Z",
        "request_id": "req-stop",
    }
    assert document["last_failure"] == {"code": "backend_timeout", "detail": "Late."}
    assert (document["failed_attempts"], document["is_leased"]) == (1, True)
    assert harness.get_document("list", "--failed") == []


def test_list_says_where_it_ends(harness: CommandHarness) -> None:
    for number in range(3):
        harness.add(f"op-{number}", StepState.ACCEPTED)
    result = harness.run("list", "--limit", "2")
    assert len(result.stdout.splitlines()) == 3
    assert result.stderr == "There are more than 2: --limit shows more.\n"
    assert harness.run("list").stderr == ""


def test_list_omits_an_operation_of_another_version(harness: CommandHarness) -> None:
    harness.add("op-1", StepState.ACCEPTED)
    harness.add("op-2", StepState.ACCEPTED)
    with harness.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE operations SET action = 'hibernate' WHERE id = 'op-1'")
    assert [row["id"] for row in harness.get_document("list")] == ["op-2"]


def test_show_prints_the_operation_and_its_steps(harness: CommandHarness) -> None:
    harness.add("op-1", StepState.DONE, StepState.DISPATCHING)
    result = harness.run("show", "op-1")
    fields, steps = result.stdout.split("\n\n")
    values = dict(line.split(maxsplit=1) for line in fields.splitlines() if line.count(" "))
    assert (values["id"], values["status"], values["continues"]) == ("op-1", "running", "yes")
    # a text of a client cannot control the terminal
    assert "requested by" in fields
    assert "alice\\x1b[31m" in fields
    assert steps.splitlines() == [
        "step    state        started at            request of the cloud",
        "resume  done         2026-02-25T10:30:00Z  req-resume",
        "stop    dispatching  2026-02-25T10:30:00Z  req-stop",
    ]


def test_show_prints_a_bulk_operation(harness: CommandHarness) -> None:
    harness.add_bulk("bulk-1")
    assert "operations    2 pending" in harness.run("show", "bulk-1").stdout
    document = harness.get_document("show", "bulk-1")
    assert [part["id"] for part in document["operations"]] == ["part-1", "part-2"]
    for args in (("retry", "bulk-1"), ("fail", "bulk-1", "--reason", "x", "--yes")):
        result = harness.run(*args)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            "Error: bulk-1 is a bulk operation. Name one of its operations: "
            "vmapi operations show bulk-1\n"
        )


def test_retry_says_whether_a_process_continues_the_operation(harness: CommandHarness) -> None:
    harness.add("op-1", StepState.ACCEPTED)
    result = harness.run("retry", "op-1")
    assert (result.exit_code, result.stdout, result.stderr) == (
        0,
        "",
        "The engine attempts the operation now: vmapi operations show op-1\n",
    )
    document = json.loads(harness.run("retry", "op-1", "--json").stdout)
    assert document["retry_requested_at"] is not None
    harness.store.close()
    result = harness.run("retry", "op-1")
    assert result.exit_code == 0
    assert result.stderr.startswith("No process continues the operation now: start a server")


def test_fail_ends_an_operation_once(harness: CommandHarness) -> None:
    harness.add("op-1", StepState.ACCEPTED)
    args = ("fail", "op-1", "--reason", " host is gone ", "--yes")
    result = harness.run(*args)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        "Operation op-1 has failed: The operator ended the stop: host is gone. "
        "The cloud may still complete it.\n"
    )
    repeated = harness.run(*args)
    assert (repeated.exit_code, repeated.stdout) == (1, "")
    assert repeated.stderr.startswith("Error: Operation op-1 is finished: failed at ")
    (document,) = harness.get_document("list", "--failed")
    assert document["error"]["code"] == "operation_timeout"
    actions = [(row.action, row.user.partition(":")[0]) for row in audit_rows(harness.apps[0])]
    assert actions == [
        ("stop", "alice\x1b[31m"),
        ("operation_fail", "cli"),
        ("stop", "alice\x1b[31m"),
    ]


def test_fail_asks_first(harness: CommandHarness) -> None:
    harness.add("op-1", StepState.ACCEPTED)
    result = harness.run("fail", "op-1", "--reason", "stuck", text="n\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "End operation op-1 as failed? [y/N]" in result.stderr
    assert harness.get_document("show", "op-1")["status"] == "running"
    ended = harness.run("fail", "op-1", "--reason", "stuck", "--json", text="y\n")
    assert (ended.exit_code, json.loads(ended.stdout)["status"]) == (0, "failed")


@pytest.mark.parametrize("reason", ["", " ", "a\nb", "a\x1b", "x" * 301])
def test_malformed_reason_is_refused(harness: CommandHarness, reason: str) -> None:
    harness.add("op-1", StepState.ACCEPTED)
    result = harness.run("fail", "op-1", "--reason", reason, "--yes")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == (
        "Error: Invalid value for --reason: 1 to 300 printable characters"
    )


def test_call_in_progress_is_not_ended(harness: CommandHarness) -> None:
    operation = harness.add("op-1", StepState.PLANNED)
    step = replace(operation.steps[0], state=StepState.DISPATCHING, started_at=datetime.now(UTC))
    harness.store.operations.save(operation.with_step(step))
    result = harness.run("fail", "op-1", "--reason", "stuck", "--yes")
    assert result.exit_code == 1
    assert result.stderr.endswith("Repeat the command after that time.\n")


@pytest.mark.parametrize("args", [("show",), ("retry",), ("fail", "--reason", "x", "--yes")])
def test_unknown_operation_is_refused(harness: CommandHarness, args: tuple[str, ...]) -> None:
    harness.store.operations.list_leased()
    result = harness.run(*args, "unknown")
    assert (result.exit_code, result.stderr) == (1, "Error: There is no operation unknown.\n")
