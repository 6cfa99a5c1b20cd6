"""Contexts: named servers with their tokens, in a file that only its owner can read."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vmapi_client.errors import ConfigurationError
from vmapi_client.text_files import describe_file_error, read_text_file

FILE_MODE = 0o600
FOLDER_MODE = 0o700
MAX_CONTEXTS_BYTES = 1 << 20
CONTEXT_MEMBERS = ("url", "token", "token_file", "ca_file")

EXPECTED_FILE = "JSON, as 'vmctl context add NAME URL' writes it"
EXPECTED_NAME = "a name of printable characters without spaces, and no - at its begin"
JSON_TYPES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "a boolean",
    float: "a number",
    type(None): "null",
}


@dataclass(frozen=True)
class Context:
    """A server and the access to it."""

    name: str
    url: str
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None
    ca_file: str | None = None


@dataclass(frozen=True)
class ContextStore:
    """The file with all contexts. It is read again by each call.

    Each call raises ConfigurationError if the file is not usable.
    """

    path: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "ContextStore":
        """Return the store of the user: `VMAPI_CONTEXTS_FILE`, else below `XDG_CONFIG_HOME`."""
        environ = os.environ if environ is None else environ
        path = environ.get("VMAPI_CONTEXTS_FILE")
        if path:
            return cls(Path(path))
        try:
            home = environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        except RuntimeError as error:
            raise ConfigurationError(
                "There is no home directory for contexts: set VMAPI_CONTEXTS_FILE or VMAPI_URL."
            ) from error
        return cls(Path(home) / "vmapi" / "contexts.json")

    def load(self) -> tuple[str | None, dict[str, Context]]:
        """Return the name of the current context, and all contexts by name."""
        try:
            text, mode = read_text_file(self.path, MAX_CONTEXTS_BYTES)
        except FileNotFoundError:
            return None, {}
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"The contexts file {self.path} cannot be read: {describe_file_error(error)}. "
                f"Expected: {EXPECTED_FILE}."
            ) from error
        try:
            current, contexts = parse_contexts(text)
        except ValueError as error:
            raise ConfigurationError(
                f"The contexts file {self.path} is malformed: {error}."
            ) from error
        self._check_mode(mode, contexts)
        return current, contexts

    def find(self, name: str | None = None) -> Context | None:
        """Return a context, or the current one without a name; None without one.

        Raises ConfigurationError if no context has the name.
        """
        current, contexts = self.load()
        if name is None and current is None:
            return None
        chosen = current if name is None else name
        assert chosen is not None
        if chosen in contexts:
            return contexts[chosen]
        names = ", ".join(sorted(contexts)) or "none"
        if name is None:
            raise ConfigurationError(
                f"The current context {chosen!r} is not in {self.path}. Contexts: {names}: "
                "choose one with 'vmctl context use NAME'."
            )
        raise ConfigurationError(f"No context {chosen!r} in {self.path}. Contexts: {names}.")

    def save(self, context: Context, *, make_current: bool = False) -> None:
        """Add or replace a context; the first one becomes the current one."""
        check_context_name(context.name)
        with self._locked():
            current, contexts = self.load()
            contexts[context.name] = context
            make_current = make_current or current not in contexts
            self._write(context.name if make_current else current, contexts)

    def set_token(self, name: str, token: str) -> None:
        """Store a token in a context."""
        context = self.find(name)
        assert context is not None
        self.save(replace(context, token=token, token_file=None))

    def use(self, name: str) -> None:
        """Make a context the current one."""
        with self._locked():
            self.find(name)
            self._write(name, self.load()[1])

    def remove(self, name: str) -> None:
        """Remove a context."""
        with self._locked():
            self.find(name)
            current, contexts = self.load()
            del contexts[name]
            self._write(None if current == name else current, contexts)

    def _check_mode(self, mode: int, contexts: Mapping[str, Context]) -> None:
        if os.name == "posix" and mode & 0o077 and any(c.token for c in contexts.values()):
            raise ConfigurationError(
                f"{self.path} has tokens, and its mode is {mode:o}: run 'chmod 600 {self.path}'."
            )

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one process at a time change the file. Raises ConfigurationError for an OSError."""
        try:
            self.path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            with lock_folder(self.path.parent):
                yield
        except OSError as error:
            reason = error.strerror or error
            raise ConfigurationError(
                f"The contexts file {self.path} cannot be written: {reason}."
            ) from error

    def _write(self, current: str | None, contexts: Mapping[str, Context]) -> None:
        """Replace the file as a whole; it is never readable by others."""
        document = {"current": current, "contexts": {n: _members(c) for n, c in contexts.items()}}
        # a symbolic link stays one
        path = Path(os.path.realpath(self.path))
        # mkstemp creates the file with the mode 0600
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".contexts-")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=2)
                file.write("\n")
                file.flush()
                os.fsync(descriptor)
            os.replace(name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder, where the system has such locks."""
    try:
        from fcntl import LOCK_EX, flock
    except ImportError:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            flock(descriptor, LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def make_absolute(path: str | None) -> str | None:
    """Return the path of a file that commands in other folders find; None stays None."""
    return None if path is None else os.path.abspath(os.path.expanduser(path))


def check_context_name(name: str) -> str:
    """Return the name of a context. Raises ConfigurationError if no context can have it."""
    if not is_context_name(name):
        raise ConfigurationError(f"{name!r} is no name of a context. Expected: {EXPECTED_NAME}.")
    return name


def is_context_name(name: str) -> bool:
    """Return whether a context can have a name, in lines and in shells."""
    return name.isprintable() and " " not in name and name[:1] not in ("", "-")


def parse_contexts(text: str) -> tuple[str | None, dict[str, Context]]:
    """Return the current name and the contexts of a document. Raises ValueError."""
    try:
        document = json.loads(text, parse_int=float)
    except RecursionError as error:
        raise ValueError(f"it is nested too deeply. Expected: {EXPECTED_FILE}") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"it is no JSON at {place}. Expected: {EXPECTED_FILE}") from error
    members = _expect(document, dict, "the document", "an object with contexts")
    items = _expect(members.get("contexts"), dict, "contexts", "an object with a context by name")
    current = members.get("current")
    if current is not None:
        _expect(current, str, "current", "the name of a context, or null")
    return current, {name: _parse_context(name, item) for name, item in items.items()}


def _parse_context(name: str, item: Any) -> Context:
    if not is_context_name(name):
        raise ValueError(f"the name {name!r} of a context. Expected: {EXPECTED_NAME}")
    place = f"the context {name}"
    _expect(item, dict, place, "an object with a url")
    # members of a newer vmctl are ignored
    members = {key: item[key] for key in CONTEXT_MEMBERS if item.get(key) is not None}
    for key, value in {"url": None, **members}.items():
        _expect(value, str, f"{key} of {place}", "a text")
    return Context(name, **members)


def _expect(value: Any, kind: type, place: str, expected: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{place} is {JSON_TYPES[type(value)]}. Expected: {expected}")
    return value


def _members(context: Context) -> dict[str, str]:
    members = asdict(context)
    return {key: value for key, value in members.items() if key != "name" and value is not None}
