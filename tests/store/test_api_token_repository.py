"""API tokens in the database: by their hashes, each with its lines in the audit trail."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.audit_chain import list_rows
from tests.support.fake_clock import Clock
from tests.support.operation_factory import run_concurrently
from vmapi.domain import api_token
from vmapi.domain.api_token import ApiToken
from vmapi.domain.audit import AuditEntry
from vmapi.domain.roles import Role
from vmapi.store.api_tokens import ApiTokenRepository
from vmapi.store.database import Database

HOUR = timedelta(hours=1)


class Shelf:
    """Tokens in a database, and the time."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = Clock()
        self.store = ApiTokenRepository(database)

    def token(self, id: str, **more: Any) -> ApiToken:
        made = self.clock()
        return ApiToken(id, api_token.hash_token(id), "ci", Role.OPERATOR, "web", made, **more)

    def entry(self, token: ApiToken, action: str) -> AuditEntry:
        return AuditEntry.for_token(token, self.clock(), action, "cli:me", "req-1")

    def add(self, id: str, **more: Any) -> ApiToken:
        made = self.token(id, **more)
        self.store.add(made, self.entry(made, "token_create"))
        return made

    def revoke(self, id: str) -> bool:
        entry = self.entry(self.token(id), "token_revoke")
        return self.store.revoke(id, self.clock(), entry)

    def replace(self, id: str, by: str, until: datetime) -> bool:
        entry = self.entry(self.token(id), "token_rotate")
        return self.store.replace(id, self.token(by), until, entry)

    @property
    def told(self) -> list[tuple[str, str]]:
        return [(row.action, row.token_id) for row in list_rows(self.database)]


@pytest.fixture
def shelf(database: Database) -> Shelf:
    return Shelf(database)


def test_what_is_kept_is_found(shelf: Shelf) -> None:
    made = shelf.add("1", expires_at=shelf.clock() + HOUR)
    assert shelf.store.find_by_digest(made.digest) == shelf.store.get("1") == made
    assert shelf.store.find_by_digest("1") is None
    assert shelf.store.get(made.digest) is None
    other = shelf.add("2")
    assert shelf.store.list_all() == [made, other]
    (entry, _) = list_rows(shelf.database)
    assert (entry.user, entry.project, entry.outcome) == ("cli:me", "web", "succeeded")
    assert (entry.request_id, entry.vm_id) == ("req-1", None)
    assert shelf.told == [("token_create", "1"), ("token_create", "2")]


def test_a_revocation(shelf: Shelf) -> None:
    made = shelf.add("1")
    assert shelf.revoke("1")
    assert shelf.store.get("1") == replace(made, revoked_at=shelf.clock())
    shelf.clock.sleep(1)
    for id in ("1", "nothing"):
        assert not shelf.revoke(id)
    assert [action for action, _ in shelf.told] == ["token_create", "token_revoke"]


def test_what_is_over_is_not_revoked(shelf: Shelf) -> None:
    shelf.add("1", expires_at=shelf.clock())
    assert not shelf.revoke("1")


def test_a_new_one_for_an_old_one(shelf: Shelf) -> None:
    shelf.add("1")
    until = shelf.clock() + HOUR
    assert shelf.replace("1", "2", until)
    old, new = shelf.store.get("1"), shelf.store.get("2")
    assert old is not None
    assert new is not None
    assert (old.revoked_at, new.revoked_at) == (until, None)
    # its end is not put off by a second one, but it may be brought on
    assert not shelf.replace("1", "3", until + HOUR)
    assert shelf.store.get("3") is None
    assert shelf.revoke("1")
    assert [action for action, _ in shelf.told[1:]] == ["token_rotate", "token_revoke"]


def test_of_two_who_rotate_at_once_one_does(shelf: Shelf) -> None:
    shelf.add("1")
    now = shelf.clock()
    assert run_concurrently(3, lambda number: shelf.replace("1", f"new-{number}", now)) == 1
    assert len(shelf.store.list_all()) == 2


def test_the_last_use_is_written_seldom(shelf: Shelf) -> None:
    shelf.add("1")
    began = shelf.clock()
    for seconds, noted in ((0, 0), (59, 0), (1, 60), (30, 60), (30, 120)):
        shelf.clock.sleep(seconds)
        shelf.store.record_use("1", shelf.clock())
        found = shelf.store.get("1")
        assert found is not None
        assert found.last_used_at == began + timedelta(seconds=noted)


def test_no_token_is_in_the_database(shelf: Shelf) -> None:
    secret = api_token.generate_token()
    made = replace(shelf.token("1"), digest=api_token.hash_token(secret))
    shelf.store.add(made, shelf.entry(made, "token_create"))
    with shelf.database.read() as connection:
        kept = connection.execute(text("SELECT * FROM api_tokens")).all()
    assert made.digest in str(kept)
    assert secret not in str(kept) + str(list_rows(shelf.database))
