"""API token tests: stored by digest, each change with an audit entry."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.audit_chain import list_rows
from tests.support.fake_clock import Clock
from tests.support.operation_factory import run_concurrently
from vmapi.domain.access import api_token
from vmapi.domain.access.api_token import ApiToken
from vmapi.domain.access.roles import Role
from vmapi.domain.audit import AuditEntry
from vmapi.store.api_tokens import ApiTokenRepository
from vmapi.store.database import Database

HOUR = timedelta(hours=1)


class TokenHarness:
    """A token repository with its clock."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = Clock()
        self.store = ApiTokenRepository(database)

    def token(self, id: str, **more: Any) -> ApiToken:
        now = self.clock()
        return ApiToken(id, api_token.hash_token(id), "ci", Role.OPERATOR, "web", now, **more)

    def entry(self, token: ApiToken, action: str) -> AuditEntry:
        return AuditEntry.for_token(token, self.clock(), action, "cli:me", "req-1")

    def add(self, id: str, **more: Any) -> ApiToken:
        token = self.token(id, **more)
        self.store.add(token, self.entry(token, "token_create"))
        return token

    def revoke(self, id: str) -> bool:
        entry = self.entry(self.token(id), "token_revoke")
        return self.store.revoke(id, self.clock(), entry)

    def replace(self, id: str, by: str, until: datetime) -> bool:
        entry = self.entry(self.token(id), "token_rotate")
        return self.store.replace(id, self.token(by), until, entry)

    @property
    def audited_actions(self) -> list[tuple[str, str]]:
        return [(row.action, row.token_id) for row in list_rows(self.database)]


@pytest.fixture
def harness(database: Database) -> TokenHarness:
    return TokenHarness(database)


def test_added_token_is_found_by_digest_and_id(harness: TokenHarness) -> None:
    token = harness.add("1", expires_at=harness.clock() + HOUR)
    assert harness.store.find_by_digest(token.digest) == harness.store.get("1") == token
    assert harness.store.find_by_digest("1") is None
    assert harness.store.get(token.digest) is None
    other = harness.add("2")
    assert harness.store.list_all() == [token, other]
    (entry, _) = list_rows(harness.database)
    assert (entry.user, entry.project, entry.outcome) == ("cli:me", "web", "succeeded")
    assert (entry.request_id, entry.vm_id) == ("req-1", None)
    assert harness.audited_actions == [("token_create", "1"), ("token_create", "2")]


def test_revoke_ends_a_token_once(harness: TokenHarness) -> None:
    token = harness.add("1")
    assert harness.revoke("1")
    assert harness.store.get("1") == replace(token, revoked_at=harness.clock(), is_revoked=True)
    harness.clock.sleep(1)
    for id in ("1", "nothing"):
        assert not harness.revoke(id)
    assert [action for action, _ in harness.audited_actions] == ["token_create", "token_revoke"]


def test_expired_token_is_not_revoked(harness: TokenHarness) -> None:
    harness.add("1", expires_at=harness.clock())
    assert not harness.revoke("1")


def test_replace_ends_the_old_token_and_adds_the_new_one(harness: TokenHarness) -> None:
    harness.add("1")
    until = harness.clock() + HOUR
    assert harness.replace("1", "2", until)
    old, new = harness.store.get("1"), harness.store.get("2")
    assert old is not None
    assert new is not None
    assert (old.revoked_at, new.revoked_at) == (until, None)
    # a second replacement does not postpone the end, but a revocation advances it
    assert not harness.replace("1", "3", until + HOUR)
    assert harness.store.get("3") is None
    assert harness.revoke("1")
    assert [action for action, _ in harness.audited_actions[1:]] == ["token_rotate", "token_revoke"]


def test_one_of_concurrent_replacements_succeeds(harness: TokenHarness) -> None:
    harness.add("1")
    now = harness.clock()
    assert run_concurrently(3, lambda number: harness.replace("1", f"new-{number}", now)) == 1
    assert len(harness.store.list_all()) == 2


def test_record_use_writes_once_a_minute(harness: TokenHarness) -> None:
    harness.add("1")
    start = harness.clock()
    for seconds, recorded in ((0, 0), (59, 0), (1, 60), (30, 60), (30, 120)):
        harness.clock.sleep(seconds)
        harness.store.record_use("1", harness.clock())
        token = harness.store.get("1")
        assert token is not None
        assert token.last_used_at == start + timedelta(seconds=recorded)


def test_token_is_not_in_the_database(harness: TokenHarness) -> None:
    secret = api_token.generate_token()
    token = replace(harness.token("1"), digest=api_token.hash_token(secret))
    harness.store.add(token, harness.entry(token, "token_create"))
    with harness.database.read() as connection:
        rows = connection.execute(text("SELECT * FROM api_tokens")).all()
    assert token.digest in str(rows)
    assert secret not in str(rows) + str(list_rows(harness.database))


def test_purge_removes_tokens_that_ended_before_a_time(harness: TokenHarness) -> None:
    end = harness.clock()
    earlier, later = end - HOUR, end + HOUR
    harness.add("revoked", revoked_at=earlier)
    harness.add("expired", expires_at=earlier)
    harness.add("rotated", revoked_at=later, expires_at=later)
    harness.add("at the time", revoked_at=end)
    harness.add("endless")
    assert harness.store.purge(end) == 2
    assert {token.id for token in harness.store.list_all()} == {
        "rotated",
        "at the time",
        "endless",
    }
    assert harness.store.purge(end) == 0


def test_revoked_token_stays_revoked_after_the_clock_was_set_back(harness: TokenHarness) -> None:
    token = harness.add("1")
    assert harness.revoke("1")
    harness.clock.now -= HOUR
    stored = harness.store.find_by_digest(token.digest)
    assert stored is not None
    assert stored.state(harness.clock()) == "revoked"
    assert not harness.revoke("1")
    assert not harness.replace("1", by="2", until=harness.clock() + HOUR)


def test_use_is_recorded_after_the_clock_was_set_back(harness: TokenHarness) -> None:
    harness.add("1")
    harness.store.record_use("1", harness.clock())
    harness.clock.now -= HOUR
    harness.store.record_use("1", harness.clock())
    (stored,) = harness.store.list_all()
    assert stored.last_used_at == harness.clock()
