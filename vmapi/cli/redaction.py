"""Hide secrets and the texts of users in documents that leave the machine."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

from vmapi.settings.settings import DECLARATIONS, Settings

HIDDEN = "(hidden)"

MIN_SECRET_CHARS = 4
"""A shorter text would hide parts of words that are no secret."""

SECRET_VARIABLES = re.compile(r"PASS|SECRET|TOKEN|KEY|CREDENTIAL", re.I)
"""Names of environment variables that hold secrets, as those of the OpenStack SDK."""

URL_USER = re.compile(r"(?<=://)[^/@\s'\"]+@")
TOKENS = re.compile(r"vmapi_[A-Za-z0-9]+|eyJ[\w-]+\.[\w.-]+|gAAAA[\w=-]+")
"""API tokens, JWT and Fernet tokens of Keystone."""

QUOTATIONS = re.compile(r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|“[^”]*”|‘[^’]*’")
"""Quoted parts of messages of the cloud: they may repeat any text of a user.

An apostrophe after a letter is no quotation mark.
"""


class Redactor:
    """Replaces secrets in the texts of documents."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms = {form for secret in secrets for form in _forms(secret)}
        # the longest first: a secret may be a part of another
        ordered = sorted(forms, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, ordered)) or r"(?!)", re.I)

    def redact(self, document: Any) -> Any:
        """Return a JSON document with its texts redacted, keys too."""
        if isinstance(document, str):
            return self._redact_text(document)
        if isinstance(document, Mapping):
            return {self._redact_text(str(key)): self.redact(v) for key, v in document.items()}
        if isinstance(document, list | tuple):
            return [self.redact(item) for item in document]
        return document

    def _redact_text(self, text: str) -> str:
        text = self._pattern.sub(HIDDEN, text)
        return TOKENS.sub(HIDDEN, URL_USER.sub(f"{HIDDEN}@", text))


def hide_quotations(text: str, *user_texts: str | None) -> str:
    """Return a message without its quoted parts, and without the texts of a user."""
    for user_text in sorted(filter(None, user_texts), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(user_text)}(?!\w)", HIDDEN, text)
    return QUOTATIONS.sub(HIDDEN, text)


def find_secrets(settings: Settings) -> Iterator[str]:
    """Yield the values of secret settings and variables, and the passwords of their URLs."""
    for field_name, declared in DECLARATIONS.items():
        text = declared.render(getattr(settings, field_name))
        if declared.is_secret and text not in ("", declared.default):
            yield text
            yield from _url_secrets(text)
    yield from (value for name, value in os.environ.items() if SECRET_VARIABLES.search(name))


def _url_secrets(text: str) -> Iterator[str]:
    if "://" not in text:
        return
    url = urlsplit(text)
    yield url.password or ""
    yield from (value for _, value in parse_qsl(url.query))


def _forms(secret: str) -> Iterator[str]:
    for plain in (secret, unquote(secret)):
        forms = (plain, quote(plain, ""), quote_plus(plain))
        yield from (form for form in forms if len(form) >= MIN_SECRET_CHARS)
