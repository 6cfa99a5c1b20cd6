"""Sign and verify the cursors of keyset pagination.

A cursor holds the query parameters of a list and the position after a page. Views encode it into
the `next` link and decode it from `?cursor=`. The signature makes it tamper-proof: a client
can neither build one nor use it for another list or project. All processes share one key.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from itsdangerous.encoding import want_bytes

from vmapi.domain.pagination import KeysetPosition
from vmapi.errors import ValidationFailed

CURSOR_TTL = timedelta(hours=24, minutes=1)
"""A day, and the time that a rendered page is cached."""

START_AGAIN_TEXT = "Start again with the first page, and follow next without changes."

INVALID_CURSOR_DETAIL = (
    f"The cursor is not one that vmapi has issued for this list. {START_AGAIN_TEXT}"
)

EXPIRED_CURSOR_DETAIL = (
    f"The cursor has expired: a cursor is valid for 24 hours. {START_AGAIN_TEXT}"
)

QueryParams = Mapping[str, Sequence[str]]
"""The query parameters of a list: each name with its values."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The query parameters of a list, and the position of the last item of a page."""

    query_params: QueryParams
    position: KeysetPosition


class CursorSigner:
    """Encodes cursors as signed texts for URLs, and decodes them.

    `get_key` returns the secret that all processes share. A cursor is valid for one `scope`, which
    names the list and the project.
    """

    def __init__(self, get_key: Callable[[], str], clock: Callable[[], datetime]) -> None:
        self._get_key = get_key
        self._clock = clock

    def encode(self, scope: str, cursor: Cursor) -> str:
        """Return a cursor as a signed text."""
        position = cursor.position
        is_time = isinstance(position.value, datetime)
        fields = [cursor.query_params, position.value, is_time, position.id, position.total]
        return self._serializer(scope).dumps(fields)

    def decode(self, scope: str, text: str) -> Cursor:
        """Return the cursor of a signed text.

        Raises ValidationFailed with the pointer `/cursor` for a forged, foreign or expired text.
        """
        try:
            fields, signed_at = self._serializer(scope).loads(text, return_timestamp=True)
        except BadData:
            raise _invalid_cursor(INVALID_CURSOR_DETAIL) from None
        # max_age would refuse a cursor from a process with a clock slightly ahead
        if self._clock() >= signed_at + CURSOR_TTL:
            raise _invalid_cursor(EXPIRED_CURSOR_DETAIL)
        query_params, value, is_time, id, total = fields
        value = datetime.fromisoformat(value) if is_time else value
        return Cursor(query_params, KeysetPosition(value, id, total))

    def _serializer(self, scope: str) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            self._get_key(),
            salt=f"vmapi cursor 2 {scope}",
            serializer=_Json,
            signer=_Signer,
            signer_kwargs={
                "key_derivation": "hmac",
                "digest_method": hashlib.sha256,
                "clock": self._clock,
            },
        )


class _Json:
    """orjson with the interface of a text serializer."""

    @staticmethod
    def dumps(fields: object) -> str:
        """Return JSON text."""
        return orjson.dumps(fields).decode()

    @staticmethod
    def loads(text: str) -> Any:
        """Parse JSON text."""
        return orjson.loads(text)


class _Signer(TimestampSigner):
    """A signer with an injected clock. It accepts only its own spelling of a signature."""

    def __init__(self, *args: Any, clock: Callable[[], datetime], **options: Any) -> None:
        super().__init__(*args, **options)
        self._clock = clock

    def get_timestamp(self) -> int:
        """Return the time of the injected clock, in seconds since 1970."""
        return int(self._clock().timestamp())

    def verify_signature(self, value: str | bytes, sig: str | bytes) -> bool:
        """Compare the texts: base64 has several spellings for the bytes of one signature."""
        return hmac.compare_digest(want_bytes(sig), self.get_signature(value))


def _invalid_cursor(message: str) -> ValidationFailed:
    return ValidationFailed(f"Parameter cursor: {message}", ("/cursor", message))
