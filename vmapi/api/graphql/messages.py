"""Messages of the GraphQL library: without values of the client, and with the limit of a refusal.

User data is secret.
"""

import re

from graphql.language.parser import MAX_NESTING_DEPTH

from vmapi.api.graphql.documents.limits import MAX_TOKENS, MAX_VALIDATION_STEPS

MAX_MESSAGE_CHARS = 500
"""A message may name a field or an enumeration value, of any length."""

VARIABLE_PREFIX = re.compile(r"Variable '\$\w+' has invalid value(?: at [^:]*)?: ")
FOUND_VALUE = re.compile(r"[,;]? ?\b[Ff]ound: .*|(?<=\bvalue): .*", re.DOTALL)


FOUND_TOKEN = re.compile(r"(\b(?:found|Unexpected) \w+) ['\"].*", re.DOTALL)
"""A token of a syntax error, which may be a part of a value."""

LIMIT_MESSAGES = {
    f"Syntax Error: Document contains more than {MAX_TOKENS} tokens. Parsing aborted.": (
        f"The document has more than {MAX_TOKENS} tokens. Send several requests, and long lists "
        "as variables."
    ),
    "Syntax Error: Document is nested too deeply. Parsing aborted.": (
        f"The document has more than {MAX_NESTING_DEPTH} levels of brackets. Nest fewer levels, "
        "and send deep values as variables."
    ),
    "Too many validation errors, error limit reached. Validation aborted.": (
        "The document has more than 100 errors. Correct those above, then send it again."
    ),
    "Too many errors processing variables, error limit reached. Execution aborted.": (
        "The variables have more than 50 errors. Correct those above, then send them again."
    ),
    "Validation aborted.": (
        f"The validation of the document has more than {MAX_VALIDATION_STEPS} steps: it compares "
        "all fields of one name. Repeat fewer fields and fragments, or send several requests."
    ),
}
"""Messages of limits by those of the library, which name neither the limit nor a remedy."""


def build_message(message: str) -> str:
    """Return a message without a value of the client, cut if it is long."""
    return LIMIT_MESSAGES.get(message) or _hide_values(message)


def _hide_values(message: str) -> str:
    prefix = VARIABLE_PREFIX.match(message)
    start = prefix.end() if prefix else 0
    hidden = message[:start] + FOUND_VALUE.sub(".", message[start:], count=1)
    if message.startswith("Syntax Error"):
        hidden = FOUND_TOKEN.sub(r"\1.", hidden)
    return hidden if len(hidden) <= MAX_MESSAGE_CHARS else f"{hidden[:MAX_MESSAGE_CHARS]}…"
