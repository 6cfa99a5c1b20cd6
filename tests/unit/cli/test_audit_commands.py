"""`flask audit verify`: what it says of a trail, and how it ends."""

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


class Trail:
    """A trail of three entries, and the command about it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.database = Database(url, 2, schema.ensure_current)
        self.begun = Clock()()
        build_chain(self.database, self.begun, 3)
        self.head = chain_head(self.database)
        self.anchor = f"{self.head.position}:{self.head.mac}"

    def verify(self, *args: str, key: str | None = AUDIT_KEY) -> tuple[int, list[str]]:
        """Return how the command ends, and the lines that it says."""
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


@pytest.fixture
def trail(tmp_path: Path) -> Iterator[Trail]:
    trail = Trail(f"sqlite:///{tmp_path}/vmapi.sqlite3")
    yield trail
    trail.database.close()


def test_what_is_sound(trail: Trail) -> None:
    said = (0, ["sound from position 1 to 3, 0 open", f"anchor {trail.anchor}"])
    assert trail.verify() == said
    assert trail.verify("--anchor", trail.anchor) == said
    append_entries(trail.database, build_entry(trail.begun, 4))
    assert trail.verify() == (0, ["sound from position 1 to 3, 1 open", f"anchor {trail.anchor}"])
    AuditRepository(trail.database).purge(trail.begun + timedelta(days=3), AUDIT_KEY)
    assert trail.verify("--anchor", trail.anchor)[1][0] == "sound from position 3 to 3, 1 open"


def test_an_anchor_that_was_told_of_nothing_is_taken(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/vmapi.sqlite3"
    said = (0, ["sound from position 1 to 0, 0 open", "anchor 0:"])
    assert verify(url) == said
    assert verify(url, "--anchor", "0:") == said
    trail = Trail(url)
    assert trail.verify("--anchor", "0:")[0] == 0
    trail.database.close()


def test_what_is_broken(trail: Trail) -> None:
    tamper(trail.database, "DELETE FROM audit_entries WHERE chain_position = 2")
    assert trail.verify() == (
        1,
        ["sound from position 1 to 1, 0 open", "Error: entry 3 does not follow from position 1"],
    )


def test_an_end_that_was_cut_off(trail: Trail) -> None:
    tamper(trail.database, "DELETE FROM audit_entries WHERE chain_position = 3")
    assert trail.verify()[0] == 0
    assert trail.verify("--anchor", trail.anchor) == (
        1,
        [
            "sound from position 1 to 2, 0 open",
            "Error: the chain does not hold position 3 as noted",
        ],
    )


def test_another_key(trail: Trail) -> None:
    assert trail.verify(key=OTHER_AUDIT_KEY) == (
        1,
        ["sound from position 1 to 0, 0 open", "Error: entry 1 does not follow from position 0"],
    )


def test_no_key(trail: Trail) -> None:
    assert trail.verify(key=None) == (
        1,
        ["Error: VMAPI_AUDIT_KEY is not set: the trail is kept, not chained"],
    )


@pytest.mark.parametrize(
    "anchor",
    [
        *("", "3", ":", "3:xyz", "x:" + "0" * 64, "3:" + "0" * 63, "3:" + "0" * 65),
        *("3:" + "A" * 64, "-3:" + "0" * 64, "3 :" + "0" * 64, "3:" + "0" * 64 + "\n", "٣:"),
        "1" * 19 + ":",
    ],
)
def test_what_is_no_anchor(trail: Trail, anchor: str) -> None:
    code, said = trail.verify(f"--anchor={anchor}")
    assert code == 2
    assert said[-1] == "Error: Invalid value for --anchor: it is POSITION:MAC"


def test_a_database_that_is_away() -> None:
    url = "postgresql+psycopg://u:hunter2@127.0.0.1:1/n"
    assert verify(url) == (1, ["Error: vmapi's database does not answer."])


def export(url: str, *args: str) -> tuple[int, str]:
    app = create_app(Settings(log_level="CRITICAL", database_url=url), MemoryBackend())
    runner = FlaskCliRunner(app)
    with app.app_context():
        result = runner.invoke(args=["audit", "export", *args])
    app.extensions["vmapi"].store.close()
    return result.exit_code, result.output


def test_export_writes_one_entry_a_line(trail: Trail) -> None:
    append_entries(trail.database, build_entry(trail.begun, 4, user='a"b\n', vm_id=None, code=None))
    code, said = export(trail.url)
    lines = [json.loads(line) for line in said.splitlines()]
    assert (code, [line["operation_id"] for line in lines]) == (0, ["op-1", "op-2", "op-3", "op-4"])
    assert (lines[0]["position"], lines[3]["position"]) == (1, None)
    assert lines[3] == {
        "id": 4,
        "at": trail.begun.isoformat().replace("+00:00", "Z"),
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
        "position": None,
    }


def test_export_of_some(trail: Trail) -> None:
    after = (trail.begun + timedelta(days=2)).isoformat()
    code, said = export(trail.url, "--after", after)
    assert (code, [json.loads(line)["id"] for line in said.splitlines()]) == (0, [3])
    assert export(trail.url, "--user", "nobody") == (0, "")
    assert len(export(trail.url, "--vm-id", "vm-1", "--before", after)[1].splitlines()) == 1


def test_export_of_what_cannot_be_meant(trail: Trail) -> None:
    code, said = export(trail.url, "--after", "yesterday")
    assert code == 2
    assert said.splitlines()[-1] == (
        "Error: Invalid value for '--after': Must be an RFC 3339 time with an offset: "
        "2026-02-25T10:30:00Z."
    )


def test_export_of_outcomes_and_actions_that_are_known(trail: Trail) -> None:
    for action in ("stop", "token_create", "list_audit", "listen_to_events", "act_on_vms"):
        code, said = export(trail.url, "--action", action, "--outcome", "failed")
        assert (code, len(said.splitlines())) == (0, 3 if action == "stop" else 0)


@pytest.mark.parametrize("action", ["nope", "STOP", "", "openapi", "listen_to_event"])
def test_export_of_an_action_that_is_not_known(trail: Trail, action: str) -> None:
    code, said = export(trail.url, "--action", action)
    assert code == 2
    wrong = said.splitlines()[-1]
    assert wrong.startswith("Error: Invalid value for '--action': it is none of act_on_vms, ")
    assert ", stop, stop_vm, token_create, token_revoke, token_rotate, " in wrong


def test_export_of_an_outcome_that_is_not_known(trail: Trail) -> None:
    code, said = export(trail.url, "--outcome", "nope")
    assert code == 2
    assert said.splitlines()[-1] == (
        "Error: Invalid value for '--outcome': 'nope' is not one of 'accepted', 'refused', "
        "'succeeded', 'failed', 'superseded'."
    )


def test_export_from_a_database_that_is_away() -> None:
    url = "postgresql+psycopg://u:hunter2@127.0.0.1:1/n"
    assert export(url) == (1, "Error: vmapi's database does not answer.\n")
