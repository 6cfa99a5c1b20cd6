"""Cursors: where a walk through a list has come to, as a text that only vmapi can make."""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NoReturn

import orjson
from itsdangerous import BadData, Signer
from itsdangerous.encoding import base64_decode, base64_encode

from vmapi.domain.pagination import KeysetPosition
from vmapi.errors import ValidationFailed

CURSOR_TTL = timedelta(hours=24)
"""How long a cursor is good for."""

QueryParams = Mapping[str, Sequence[str]]
"""What a list was asked for with: each parameter and its values."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """What a walk asks for, and how far it has come."""

    query_params: QueryParams
    position: KeysetPosition


class CursorSigner:
    """Makes cursors and opens them. All processes that share a `key` take each other's.

    A cursor is good for one `scope`: the list that it goes through, and whose.
    """

    def __init__(self, key: Callable[[], str], clock: Callable[[], datetime]) -> None:
        self._key = key
        self._clock = clock

    def encode(self, scope: str, cursor: Cursor) -> str:
        """Return a text for a URL."""
        place, until = cursor.position, (self._clock() + CURSOR_TTL).timestamp()
        is_time = isinstance(place.value, datetime)
        said = [until, cursor.query_params, place.value, is_time, place.id, place.total]
        return self._signer(scope).sign(base64_encode(orjson.dumps(said))).decode()

    def decode(self, scope: str, text: str) -> Cursor:
        """Return what a cursor says. Raises ValidationFailed, which points to `/cursor`."""
        until, query, value, is_time, vm_id, total = self._read(scope, text)
        if self._clock().timestamp() >= until:
            _invalid_cursor("It has expired: a cursor is good for 24 hours.")
        value = datetime.fromisoformat(value) if is_time else value
        return Cursor(query, KeysetPosition(value, vm_id, total))

    def _read(self, scope: str, text: str) -> Any:
        signer, sent = self._signer(scope), text.encode()
        try:
            said = signer.unsign(sent)
        except BadData:
            said = b""
        # base64 has several texts for the same bytes
        if not hmac.compare_digest(signer.sign(said), sent):
            _invalid_cursor("It is none that vmapi has made for this list.")
        return orjson.loads(base64_decode(said))

    def _signer(self, scope: str) -> Signer:
        return Signer(
            self._key(),
            salt=f"vmapi cursor 1 {scope}",
            key_derivation="hmac",
            digest_method=hashlib.sha256,
        )


def _invalid_cursor(reason: str) -> NoReturn:
    message = f"{reason} Begin again with the first page, and follow next as it is."
    raise ValidationFailed(f"/cursor: {message}", ("/cursor", message))
