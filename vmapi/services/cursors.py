"""Sign and verify the cursors of keyset pagination.

A cursor holds the query parameters of a list and the position after a page. Views encode it into
the `next` link and decode it from `?cursor=`. The signature makes it tamper-proof: a client
can neither build one nor use it for another list or project. All processes share the keys.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

import orjson
from cachetools import TTLCache
from itsdangerous import BadData, TimestampSigner, URLSafeTimedSerializer
from itsdangerous.encoding import base64_encode, want_bytes

from vmapi.domain.pagination import KeysetPosition

CURSOR_TTL = timedelta(hours=24, minutes=1)
"""A day, and the time that a rendered page is cached."""

FORGED_CURSOR_REASON = "The cursor is not one that vmapi has issued for this list."
EXPIRED_CURSOR_REASON = "The cursor has expired: a cursor is valid for 24 hours."

CURSOR_KEY_NAME = "cursor"
"""The name of the signing keys."""

MAX_FORGED_CURSORS = 256
MAX_FORGED_CURSOR_CHARS = 2000
FORGED_CURSOR_TTL = 1.0
"""Seconds for which the keys are not read again for a forged cursor."""

CursorKeyReader = Callable[[], Sequence[str]]

QueryParams = Mapping[str, Sequence[str]]
"""The query parameters of a list: each name with its values."""


class InvalidCursor(Exception):
    """A forged, foreign or expired cursor; its text is the reason."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The query parameters of a list, and the position of the last item of a page."""

    query_params: QueryParams
    position: KeysetPosition
    expires_at: datetime | None = field(default=None, compare=False)
    """The end of its validity; None before it is signed."""


class CursorSigner:
    """Encodes cursors as signed texts for URLs, and decodes them.

    `get_keys` returns the secrets that all processes share: the last one signs, each verifies.
    `read_keys` reads them again. A cursor is valid for one `scope`, which names the
    list and the project.
    """

    def __init__(
        self,
        get_keys: CursorKeyReader,
        clock: Callable[[], datetime],
        read_keys: CursorKeyReader | None = None,
    ) -> None:
        self._get_keys, self._read_keys = get_keys, read_keys or get_keys
        self._clock = clock
        # a document may repeat a forged cursor for each item of a page
        self._forged: TTLCache[tuple[str, str], bool] = TTLCache(
            MAX_FORGED_CURSORS, FORGED_CURSOR_TTL
        )
        self._lock = Lock()

    def encode(self, scope: str, cursor: Cursor) -> str:
        """Return a cursor as a signed text."""
        position = cursor.position
        is_time = isinstance(position.value, datetime)
        fields = [cursor.query_params, position.value, is_time, position.id, position.total]
        return self._serializer(scope, self._get_keys()).dumps(fields)

    def decode(self, scope: str, text: str) -> Cursor:
        """Return the cursor of a signed text.

        Raises InvalidCursor.
        """
        try:
            fields, signed_at = self._load(scope, text, self._get_keys())
        except BadData:
            fields, signed_at = self._load_with_new_keys(scope, text)
        # max_age would refuse a cursor from a process with a clock slightly ahead
        expires_at = signed_at + CURSOR_TTL
        if self.has_expired(expires_at):
            raise InvalidCursor(EXPIRED_CURSOR_REASON)
        query_params, value, is_time, id, total = fields
        value = datetime.fromisoformat(value) if is_time else value
        return Cursor(query_params, KeysetPosition(value, id, total), expires_at)

    def _load_with_new_keys(self, scope: str, text: str) -> tuple[Any, datetime]:
        """Load a cursor that another process may have signed with a newer key."""
        with self._lock:
            is_forged = (scope, text) in self._forged
        try:
            if not is_forged:
                return self._load(scope, text, self._read_keys())
        except BadData:
            if len(text) <= MAX_FORGED_CURSOR_CHARS:
                with self._lock:
                    self._forged[scope, text] = True
        raise InvalidCursor(FORGED_CURSOR_REASON)

    def has_expired(self, expires_at: datetime) -> bool:
        """Return whether a time has passed on the clock of the cursors."""
        return self._clock() >= expires_at

    def _load(self, scope: str, text: str, keys: Sequence[str]) -> tuple[Any, datetime]:
        fields, signed_at = self._serializer(scope, keys).loads(text, return_timestamp=True)
        return fields, signed_at

    def _serializer(self, scope: str, keys: Sequence[str]) -> URLSafeTimedSerializer:
        return URLSafeTimedSerializer(
            list(keys),
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
        data, signature = want_bytes(value), want_bytes(sig)
        return any(
            hmac.compare_digest(signature, self._sign_with(key, data)) for key in self.secret_keys
        )

    def _sign_with(self, secret_key: bytes, data: bytes) -> bytes:
        return base64_encode(self.algorithm.get_signature(self.derive_key(secret_key), data))
