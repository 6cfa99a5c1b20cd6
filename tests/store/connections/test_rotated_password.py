"""The password of new connections, which follows its file."""

from collections.abc import Callable

import pytest

from vmapi.store.connections.rotated_password import RotatedPassword


class Refused(Exception):
    """The server has refused a password."""


class PasswordHarness:
    """A server with one password, and a file with the URL of it."""

    def __init__(self) -> None:
        self.server = self.file = "old"
        self.tried: list[str] = []
        self.hidden: list[str] = []
        self._password = RotatedPassword(lambda: f"postgresql://u:{self.file}@h/n", self._hide)

    def connect(self) -> str:
        connection: str = self._password.connect(self._open, Refused, {"password": "the-password"})
        return connection

    def _hide(self, secret: str) -> None:
        self.hidden.append(secret)

    def _open(self, password: str) -> str:
        assert password in self.hidden
        self.tried.append(password)
        if password != self.server:
            raise Refused
        return password


def test_new_connection_has_the_password_of_the_file() -> None:
    harness = PasswordHarness()
    assert harness.connect() == "old"
    harness.server = harness.file = "new"
    assert harness.connect() == "new"
    assert harness.tried == ["old", "new"]


def test_last_accepted_password_is_used_until_the_server_has_the_new_one() -> None:
    harness = PasswordHarness()
    harness.connect()
    harness.file = "new"
    assert [harness.connect(), harness.connect()] == ["old", "old"]
    harness.server = "new"
    assert harness.connect() == "new"
    assert harness.tried == ["old", "new", "old", "new", "old", "new"]


def test_refused_password_is_not_repeated_without_another() -> None:
    harness = PasswordHarness()
    harness.server = "new"
    for _ in range(2):
        with pytest.raises(Refused):
            harness.connect()
    assert harness.tried == ["old", "old"]


@pytest.mark.parametrize("read_url", [None, lambda: None, lambda: "postgresql://u@h/n"])
def test_password_of_the_start_is_used_without_one_in_the_file(
    read_url: Callable[[], str | None] | None,
) -> None:
    password = RotatedPassword(read_url, lambda _: None)
    options = {"password": "the-password"}
    assert password.connect(lambda **options: options, Refused, options) == options
