"""The URL, the token and the certificates of a server: from arguments, variables or a context."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from vmapi_client.contexts import Context, ContextStore
from vmapi_client.core.replies import Server
from vmapi_client.errors import ConfigurationError
from vmapi_client.text_files import describe_file_error, read_text_file

MAX_TOKEN_BYTES = 1 << 16
DEFAULT_BASE_PATH = "/api/v1"

TokenReader = Callable[[], "str | None"]


@dataclass(frozen=True)
class Configuration:
    """The address of a server, and the access to it. `read_token` may read a file each time."""

    root: str
    base_path: str
    server: Server
    read_token: TokenReader
    ca_file: str | None = None
    context: str | None = None

    def url(self, path: str, *, below_root: bool) -> str:
        """Return the URL of a path."""
        return f"{self.root}{path}" if below_root else f"{self.root}{self.base_path}{path}"


def load_configuration(
    url: str | None = None,
    token: str | None = None,
    *,
    token_file: str | os.PathLike[str] | None = None,
    ca_file: str | os.PathLike[str] | None = None,
    context: str | None = None,
    environ: Mapping[str, str] | None = None,
) -> Configuration:
    """Find URL and token: arguments first, then `VMAPI_*` variables, then a context.

    Token and certificates of a context count for its URL only. Raises ConfigurationError.
    """
    environ = os.environ if environ is None else environ
    arguments = {"url": url, "token": token, "token_file": token_file, "ca_file": ca_file}
    for name, value in {**arguments, "context": context}.items():
        if value == "":
            raise ConfigurationError(f"the argument {name} is empty.")
    if url is not None and context is not None:
        raise ConfigurationError("the argument url and the argument context: give one of them.")
    if token is not None and token_file is not None:
        raise ConfigurationError("the arguments token and token_file: give one of them.")
    sources = [_from_arguments(url, token, token_file, ca_file)]
    if context is not None:
        sources += _from_context(context, environ)
    sources.append(_from_environment(environ))
    if not any(source.url for source in sources):
        # with a URL, a damaged contexts file is no obstacle
        sources += _from_context(environ.get("VMAPI_CONTEXT") or None, environ)
    return _merge(sources)


@dataclass(frozen=True)
class _Source:
    name: str
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    ca_file: str | None = None
    context: str | None = None
    names: tuple[str, str, str] = ("url", "token", "token_file")

    def describe(self, index: int) -> str:
        return self.name.format(self.names[index])


def _from_arguments(
    url: str | None,
    token: str | None,
    token_file: str | os.PathLike[str] | None,
    ca_file: str | os.PathLike[str] | None,
) -> _Source:
    return _Source(
        "the argument {}",
        url,
        token,
        None if token_file is None else os.fspath(token_file),
        None if ca_file is None else os.fspath(ca_file),
    )


def _from_environment(environ: Mapping[str, str]) -> _Source:
    names = ("VMAPI_URL", "VMAPI_TOKEN", "VMAPI_TOKEN_FILE")
    url, token, token_file = (environ.get(name) or None for name in names)
    ca_file = environ.get("VMAPI_CA_FILE") or None
    return _Source("{}", url, token, token_file, ca_file, names=names)


def _from_context(name: str | None, environ: Mapping[str, str]) -> list[_Source]:
    store = ContextStore.from_environment(environ)
    context: Context | None = store.find(name)
    if context is None:
        return []
    title = f"the {{}} of the context {context.name}"
    access = (context.token, context.token_file, context.ca_file)
    return [_Source(title, context.url, *access, context.name)]


def _merge(sources: list[_Source]) -> Configuration:
    place = next((source for source in sources if source.url), None)
    if place is None or place.url is None:
        raise ConfigurationError(
            "No URL: set VMAPI_URL to https://HOST[:PORT], or run 'vmctl context add NAME URL'."
        )
    root, base_path = split_url(place.url, place.describe(0))
    # the access of a context is for no other URL
    usable = [source for source in sources if source is place or source.context is None]
    access = next((source for source in usable if source.token or source.token_file), None)
    origin = None
    if access is not None:
        origin = access.describe(1 if access.token else 2)
    certificates = next((source.ca_file for source in usable if source.ca_file), None)
    return Configuration(
        root,
        base_path,
        Server(place.url, place.describe(0), origin),
        _token_reader(access, origin or ""),
        certificates,
        place.context,
    )


def split_url(url: str, origin: str = "the argument url") -> tuple[str, str]:
    """Split a URL into root and base path. Raises ConfigurationError if it is no HTTP URL."""
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        (parts.hostname or "").encode("idna")
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or "@" in url:
        # a password may be in it, and may have a slash
        shown = re.sub(r"^(\w+://)?.*@", r"\1…@", url, flags=re.DOTALL)
        raise ConfigurationError(f"{origin} is {shown!r}: it has the form https://HOST[:PORT].")
    root = f"{parts.scheme}://{parts.netloc}"
    path = parts.path.rstrip("/")
    before, api, version = path.rpartition("/api/")
    if api and version and "/" not in version:
        return root + before, f"/api/{version}"
    return root + path, DEFAULT_BASE_PATH


def _token_reader(source: _Source | None, origin: str) -> TokenReader:
    if source is None:
        return lambda: None
    if source.token is not None:
        token = check_token(source.token, origin)
        return lambda: token
    path = Path(source.token_file or "")
    return lambda: _read_token_file(path, origin)


def _read_token_file(path: Path, origin: str) -> str:
    """Read a token at each request, so that a renewed token counts at once."""
    try:
        text, _ = read_text_file(path, MAX_TOKEN_BYTES)
    except (OSError, ValueError) as error:
        reason = describe_file_error(error)
        raise ConfigurationError(
            f"{origin}: the token cannot be read from {path}: {reason}."
        ) from error
    return check_token(text, origin)


def check_token(token: str, origin: str) -> str:
    """Return a token without white space around it. Raises ConfigurationError."""
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigurationError(f"{origin} has no token: one line of ASCII characters.")
    return token
