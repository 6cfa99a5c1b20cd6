"""The commands `audit verify` and `audit export`."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskCliRunner

from tests.support.audit_chain import (
    AUDIT_KEY,
    OTHER_AUDIT_KEY,
    append_entries,
    build_chain,
    build_entry,
    chain_head,
    tamper,
)
from tests.support.fake_clock import Clock
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings.settings import Settings
from vmapi.store import schema
from vmapi.store.audit.repository import AuditRepository
from vmapi.store.database import Database


class AuditHarness:
    """An audit trail with three entries, and the command that verifies it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url, 2, schema.ensure_current)
        self.started_at = Clock()()
        build_chain(self.database, self.started_at, 3)
        self.head = chain_head(self.database)
        self.anchor = f"{self.head.position}:{self.head.mac}"

    def verify(self, *args: str, key: str | None = AUDIT_KEY) -> tuple[int, list[str]]:
        """Return the exit code and the output lines of `audit verify`."""
        return verify(self.url, *args, key=key)


def verify(url: str, *args: str, key: str | None = AUDIT_KEY) -> tuple[int, list[str]]:
    settings = Settings(log_level="CRITICAL", database_url=url, audit_key=key)
    app = create_app(settings, MemoryBackend())
    runner = FlaskCliRunner(app)
    with app.app_context():
        result = runner.invoke(args=["audit", "verify", *args])
    app.extensions["vmapi"].store.close()
    assert AUDIT_KEY not in result.output
    return result.exit_code, result.output.splitlines()


def create_database(url: str) -> None:
    database = Database(url, 2, schema.ensure_current)
    database.ping()
    database.close()


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[AuditHarness]:
    trail = AuditHarness(f"sqlite:///{tmp_path}/vmapi.sqlite3")
    yield trail
    trail.database.close()


def test_intact_chain_is_verified(trail: AuditHarness) -> None:
    expected = (0, ["sound from position 1 to 3, 0 open", f"anchor {trail.anchor}"])
    assert trail.verify() == expected
    assert trail.verify("--anchor", trail.anchor) == expected
    append_entries(trail.database, build_entry(trail.started_at, 4))
    assert trail.verify() == (0, ["sound from position 1 to 3, 1 open", f"anchor {trail.anchor}"])
    AuditRepository(trail.database).purge(trail.started_at + timedelta(days=3), [AUDIT_KEY])
    assert trail.verify("--anchor", trail.anchor)[1][0] == "sound from position 3 to 3, 1 open"


def test_anchor_of_an_empty_trail_is_accepted(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vmapi.sqlite3"
    create_database(url)
    expected = (0, ["the chain has no entries yet, 0 open", "anchor 0:"])
    assert verify(url) == expected
    assert verify(url, "--anchor", "0:") == expected
    trail = AuditHarness(url)
    assert trail.verify("--anchor", "0:")[0] == 0
    trail.database.close()


def test_entries_without_a_chain_are_open(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vmapi.sqlite3"
    database = Database(url, 2, schema.ensure_current)
    append_entries(database, *(build_entry(Clock()(), number) for number in range(3)))
    database.close()
    assert verify(url) == (0, ["the chain has no entries yet, 3 open", "anchor 0:"])


def test_deleted_entry_is_detected(trail: AuditHarness) -> None:
    tamper(trail.database, "DELETE FROM audit_entries WHERE chain_position = 2")
    assert trail.verify() == (
        1,
        ["sound from position 1 to 1, 0 open", "Error: entry 3 does not follow from position 1"],
    )


def test_truncated_end_is_detected_with_an_anchor(trail: AuditHarness) -> None:
    tamper(trail.database, "DELETE FROM audit_entries WHERE chain_position = 3")
    assert trail.verify()[0] == 0
    assert trail.verify("--anchor", trail.anchor) == (
        1,
        [
            "sound from position 1 to 2, 0 open",
            "Error: the chain does not hold position 3 as noted",
        ],
    )


def test_json_has_the_sound_part_and_the_error(trail: AuditHarness) -> None:
    document = {
        "first_position": 1,
        "last_position": 3,
        "open": 0,
        "error": None,
        "anchor": trail.anchor,
    }
    code, lines = trail.verify("--json")
    assert (code, json.loads("".join(lines))) == (0, document)
    tamper(trail.database, "DELETE FROM audit_entries WHERE chain_position = 2")
    code, lines = trail.verify("--json")
    error = "entry 3 does not follow from position 1"
    assert (code, lines[-1]) == (1, f"Error: {error}")
    assert json.loads("".join(lines[:-1])) == document | {
        "last_position": 1,
        "error": error,
        "anchor": None,
    }


def test_wrong_key_is_detected(trail: AuditHarness) -> None:
    assert trail.verify(key=OTHER_AUDIT_KEY) == (
        1,
        ["no entry is sound, 0 open", "Error: entry 1 does not follow from position 0"],
    )


def test_verify_needs_a_key(trail: AuditHarness) -> None:
    assert trail.verify(key=None) == (
        1,
        ["Error: VMAPI_AUDIT_KEY is not set: the trail has no hash chain"],
    )


@pytest.mark.parametrize(
    "anchor",
    [
        *("", "3", ":", "3:xyz", "x:" + "0" * 64, "3:" + "0" * 63, "3:" + "0" * 65),
        *("3:" + "A" * 64, "-3:" + "0" * 64, "3 :" + "0" * 64, "3:" + "0" * 64 + "\n", "٣:"),
        "1" * 19 + ":",
    ],
)
def test_malformed_anchor_is_refused(trail: AuditHarness, anchor: str) -> None:
    code, output = trail.verify(f"--anchor={anchor}")
    assert code == 2
    assert output[-1] == "Error: Invalid value for --anchor: it is POSITION:MAC"


def test_verify_reports_an_unreachable_database() -> None:
    url = "postgresql+psycopg://u:hunter2@127.0.0.1:1/n"
    code, lines = verify(url)
    assert code == 1
    assert lines[0].startswith("Error: vmapi's database does not answer: connection failed: ")


def export(url: str, *args: str) -> tuple[int, str]:
    app = create_app(Settings(log_level="CRITICAL", database_url=url), MemoryBackend())
    runner = FlaskCliRunner(app)
    with app.app_context():
        result = runner.invoke(args=["audit", "export", *args])
    app.extensions["vmapi"].store.close()
    return result.exit_code, result.output


def test_export_writes_one_entry_a_line(trail: AuditHarness) -> None:
    append_entries(
        trail.database, build_entry(trail.started_at, 4, user='a"b\n', vm_id=None, code=None)
    )
    code, output = export(trail.url)
    lines = [json.loads(line) for line in output.splitlines()]
    assert (code, [line["operation_id"] for line in lines]) == (0, ["op-1", "op-2", "op-3", "op-4"])
    assert (lines[0]["position"], lines[3]["position"]) == (1, None)
    assert lines[3] == {
        "id": 4,
        "at": trail.started_at.isoformat().replace("+00:00", "Z"),
        "user": 'a"b\n',
        "project": "default",
        "address": "192.0.2.1",
        "action": "stop",
        "vm_id": None,
        "operation_id": "op-4",
        "request_id": "r-4",
        "outcome": "failed",
        "code": None,
        "token_id": None,
        "reason": None,
        "position": None,
    }


def test_export_filters_entries(trail: AuditHarness) -> None:
    after = (trail.started_at + timedelta(days=2)).isoformat()
    code, output = export(trail.url, "--after", after)
    assert (code, [json.loads(line)["id"] for line in output.splitlines()]) == (0, [3])
    assert export(trail.url, "--user", "unknown") == (0, "")
    assert len(export(trail.url, "--vm-id", "vm-1", "--before", after)[1].splitlines()) == 1


def test_export_refuses_a_malformed_time(trail: AuditHarness) -> None:
    code, output = export(trail.url, "--after", "yesterday")
    assert code == 2
    assert output.splitlines()[-1] == (
        "Error: Invalid value for '--after': Must be an RFC 3339 time with an offset: "
        "2026-02-25T10:30:00Z."
    )


def test_export_accepts_known_outcomes_and_actions(trail: AuditHarness) -> None:
    for action in ("stop", "token_create", "list_audit", "listen_to_events", "act_on_vms"):
        code, output = export(trail.url, "--action", action, "--outcome", "failed")
        assert (code, len(output.splitlines())) == (0, 3 if action == "stop" else 0)


@pytest.mark.parametrize("action", ["nope", "STOP", "", "openapi", "listen_to_event"])
def test_export_refuses_an_unknown_action(trail: AuditHarness, action: str) -> None:
    code, output = export(trail.url, "--action", action)
    assert code == 2
    message = output.splitlines()[-1]
    assert message.startswith(
        "Error: Invalid value for '--action': unknown action, allowed are act_on_vms, "
    )
    assert ", stop, stop_vm, token_create, token_revoke, token_rotate, " in message


def test_export_refuses_an_unknown_outcome(trail: AuditHarness) -> None:
    code, output = export(trail.url, "--outcome", "nope")
    assert code == 2
    assert output.splitlines()[-1] == (
        "Error: Invalid value for '--outcome': 'nope' is not one of 'accepted', 'refused', "
        "'succeeded', 'failed', 'superseded'."
    )


def test_export_reports_an_unreachable_database() -> None:
    url = "postgresql+psycopg://u:hunter2@127.0.0.1:1/n"
    code, output = export(url)
    assert code == 1
    assert output.startswith("Error: vmapi's database does not answer: connection failed: ")
