"""Outages of the database: each failure becomes StoreUnavailable, each outage two log lines.

Clients learn little of the cause, since the driver names hosts, users and paths. The log has the
driver's own words, without the secrets of the URL: once when an outage begins, not once a request.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from urllib.parse import quote, quote_plus

import structlog
from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from vmapi.errors import StoreUnavailable
from vmapi.store.connections.location import describe_location, server_address
from vmapi.store.connections.sqlite_files import DAMAGED, NO_SPACE, file_path

log = structlog.get_logger("vmapi.store")

OUTAGE_SETTLE_SECONDS = 5.0
"""Seconds without a failure that end an outage: a disk that is almost full refuses some writes."""

MAX_REASON_CHARS = 500
"""The longest reason in a log line."""

SECRET_OPTIONS = ("password", "sslpassword", "passfile")
"""Options of libpq in the query of a URL that hold a secret."""

NO_ANSWER = "vmapi's database does not answer."
READ_ONLY = "vmapi's database is read-only now."
NO_TABLES = "vmapi's database does not have the tables of vmapi."

DETAIL_BY_ERROR_CODE = {
    # primary result codes of SQLite: https://www.sqlite.org/rescode.html
    8: READ_ONLY,
    11: DAMAGED,
    13: NO_SPACE,
    26: DAMAGED,
    # SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
    "25006": READ_ONLY,
    "53100": NO_SPACE,
    "XX001": DAMAGED,
    "XX002": DAMAGED,
    "3F000": NO_TABLES,
    "42P01": NO_TABLES,
    "42703": NO_TABLES,
    "42501": "vmapi's database refuses access to the tables of vmapi.",
}
"""The text for clients, by error code. Other codes of an outage read `NO_ANSWER`."""

FULL_DISK_CODES = (10, 14)
"""SQLITE_IOERR and SQLITE_CANTOPEN: so SQLite reports a full disk where it writes no page."""

MIN_FREE_BYTES = 64 * 1024
"""With less space, a disk counts as full: SQLite asks for up to 32 KiB at once."""

SHORT_SECRET_CHARS = 4
"""Shorter secrets are parts of most words: they are hidden only where they stand alone."""


class OutageReporter:
    """Translates the errors of one database, and logs its outages. Thread-safe.

    `secrets` are not logged. `url` is that of the database. `monotonic` returns seconds.
    """

    def __init__(
        self,
        secrets: Collection[str] = (),
        monotonic: Callable[[], float] = time.monotonic,
        *,
        url: URL | None = None,
    ) -> None:
        self._secrets = set(secrets)
        self._url = url
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._began_at: float | None = None
        self._last_failure_at = 0.0
        self._failures = 0
        self.blocks_writes = False
        """Whether a write has failed in the present outage."""

    def hide(self, secret: str) -> None:
        """Log a secret never, as those of the start."""
        if secret not in self._secrets:
            # other threads may be in a loop over the set
            self._secrets = {*self._secrets, *secret_forms(secret)}

    @contextmanager
    def watch(self, *, writes: bool) -> Iterator[None]:
        """Watch one transaction. Raises StoreUnavailable if the database fails it."""
        try:
            yield
        except SQLAlchemyError as error:
            unavailable = self._translate(error)
            if unavailable is None:
                raise
            self._on_failure(unavailable, writes=writes)
            raise unavailable from error
        except StoreUnavailable as error:
            self._on_failure(error, writes=writes)
            raise
        if self._began_at is not None:
            self._on_success(writes=writes)

    def _translate(self, error: SQLAlchemyError) -> StoreUnavailable | None:
        """Return the error for an outage; None for a defect or a conflict."""
        code = _error_code(error)
        detail = DETAIL_BY_ERROR_CODE.get(code)
        if code in FULL_DISK_CODES and self._url is not None and _is_disk_full(self._url):
            detail = NO_SPACE
        is_outage = isinstance(error, OperationalError | InterfaceError | PoolTimeout) or (
            isinstance(error, DBAPIError) and error.connection_invalidated
        )
        if detail is None and not is_outage:
            return None
        return StoreUnavailable(detail or NO_ANSWER, reason=self._describe(error))

    def _describe(self, error: SQLAlchemyError) -> str:
        """Return the words of the driver, with the place of the database, without secrets."""
        cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
        text = " ".join(str(cause).split()) or type(cause).__name__
        if self._url is not None:
            text += _sqlite_cause(cause, self._url)
            if not _names_place(text, self._url):
                text = f"{describe_location(self._url)}: {text}"
        return _hide(text, self._secrets)[:MAX_REASON_CHARS]

    def _on_failure(self, error: StoreUnavailable, *, writes: bool) -> None:
        with self._lock:
            is_first = self._began_at is None
            self._last_failure_at = self._monotonic()
            self._began_at = self._last_failure_at if is_first else self._began_at
            self._failures += 1
            self.blocks_writes |= writes
        if is_first:
            log.warning("database unavailable", reason=error.reason)

    def _on_success(self, *, writes: bool) -> None:
        with self._lock:
            now = self._monotonic()
            is_proof = writes or not self.blocks_writes
            is_settled = now - self._last_failure_at >= OUTAGE_SETTLE_SECONDS
            if self._began_at is None or not is_proof or not is_settled:
                return
            duration, failures = now - self._began_at, self._failures
            self._began_at, self._failures, self.blocks_writes = None, 0, False
        log.info("database available again", duration_seconds=round(duration, 1), failures=failures)


def url_secrets(url: URL) -> list[str]:
    """Return the secrets of a URL, plain and percent-encoded."""
    options = [value for name in SECRET_OPTIONS for value in url.normalized_query.get(name, ())]
    plain = [str(secret) for secret in (url.password, *options) if secret]
    return [form for secret in plain for form in secret_forms(secret)]


def secret_forms(secret: str) -> tuple[str, str, str]:
    """Return a secret, plain and percent-encoded."""
    return secret, quote(secret, ""), quote_plus(secret)


def _hide(text: str, secrets: Collection[str]) -> str:
    """Return a text without secrets."""
    # the longest first: a secret may be a part of another
    for secret in sorted(secrets, key=len, reverse=True):
        expression = re.escape(secret)
        if len(secret) < SHORT_SECRET_CHARS:
            expression = rf"(?<!\w){expression}(?!\w)"
        text = re.sub(expression, "***", text)
    return text


def _sqlite_cause(error: BaseException, url: URL) -> str:
    """Return what SQLite's text of an error leaves out, in parentheses; else an empty text."""
    name: str = getattr(error, "sqlite_errorname", "")
    path = file_path(url)
    if name.startswith("SQLITE_IOERR_"):
        # the call that failed
        return f" ({name})"
    if name.startswith("SQLITE_CANTOPEN") and path is not None:
        try:
            path.stat()
        except OSError as refusal:
            return f" ({refusal.strerror})"
    return ""


def _names_place(text: str, url: URL) -> bool:
    """Return whether an error names host and port of PostgreSQL; SQLite names no path."""
    if url.get_backend_name() == "sqlite":
        return False
    host, port = server_address(url)
    return host in text and port in text


def _is_disk_full(url: URL) -> bool:
    """Return whether the disk of a SQLite file has no room for more."""
    path = file_path(url)
    try:
        disk = os.statvfs(path.parent) if path else None
    except OSError:
        return False
    if disk is None:
        return False
    has_files = disk.f_favail > 0 or disk.f_files == 0
    return disk.f_bavail * disk.f_frsize < MIN_FREE_BYTES or not has_files


def _error_code(error: SQLAlchemyError) -> int | str | None:
    cause = error.orig if isinstance(error, DBAPIError) else None
    sqlstate: str | None = getattr(cause, "sqlstate", None)
    sqlite_code: int | None = getattr(cause, "sqlite_errorcode", None)
    # the low byte of an extended result code is the primary one
    return sqlstate if sqlite_code is None else sqlite_code & 0xFF
