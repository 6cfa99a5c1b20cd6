"""Contexts: named servers with their tokens, in a file that only its owner can read."""

import json
import os
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from vmapi_client.errors import ConfigurationError

FILE_MODE = 0o600
FOLDER_MODE = 0o700


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
    """The file with all contexts. It is read again by each call."""

    path: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> "ContextStore":
        """Return the store of the user: `VMAPI_CONTEXTS_FILE`, else below `XDG_CONFIG_HOME`."""
        environ = os.environ if environ is None else environ
        path = environ.get("VMAPI_CONTEXTS_FILE")
        if path:
            return cls(Path(path))
        home = environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
        return cls(Path(home) / "vmapi" / "contexts.json")

    def load(self) -> tuple[str | None, dict[str, Context]]:
        """Return the name of the current context, and all contexts by name.

        Raises ConfigurationError if the file is malformed, or others can read its tokens.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None, {}
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The contexts cannot be read: {error}") from error
        try:
            document = json.loads(text)
            contexts = {name: Context(name, **members) for name, members in read_members(document)}
            current = document.get("current")
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            raise ConfigurationError(f"{self.path} is malformed: {error}") from error
        self._check_mode(contexts)
        return current, contexts

    def find(self, name: str | None = None) -> Context | None:
        """Return a context, or the current one without a name; None without one.

        Raises ConfigurationError if no context has the name.
        """
        current, contexts = self.load()
        if name is None:
            return contexts.get(current or "")
        if name not in contexts:
            names = ", ".join(sorted(contexts)) or "none"
            raise ConfigurationError(f"No context {name!r} in {self.path}. Contexts: {names}.")
        return contexts[name]

    def save(self, context: Context, *, make_current: bool = False) -> None:
        """Add or replace a context; the first one becomes the current one."""
        current, contexts = self.load()
        contexts[context.name] = context
        self._write(context.name if make_current or current is None else current, contexts)

    def set_token(self, name: str, token: str) -> None:
        """Store a token in a context."""
        context = self.find(name)
        assert context is not None
        self.save(replace(context, token=token, token_file=None))

    def use(self, name: str) -> None:
        """Make a context the current one."""
        self.find(name)
        self._write(name, self.load()[1])

    def remove(self, name: str) -> None:
        """Remove a context."""
        self.find(name)
        current, contexts = self.load()
        del contexts[name]
        self._write(None if current == name else current, contexts)

    def _check_mode(self, contexts: Mapping[str, Context]) -> None:
        mode = stat.S_IMODE(self.path.stat().st_mode)
        if os.name == "posix" and mode & 0o077 and any(c.token for c in contexts.values()):
            raise ConfigurationError(
                f"{self.path} has tokens, and its mode is {mode:o}: run 'chmod 600 {self.path}'."
            )

    def _write(self, current: str | None, contexts: Mapping[str, Context]) -> None:
        """Replace the file as a whole; it is never readable by others."""
        document = {"current": current, "contexts": {n: _members(c) for n, c in contexts.items()}}
        self.path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        # mkstemp creates the file with the mode 0600
        descriptor, name = tempfile.mkstemp(dir=self.path.parent, prefix=".contexts-")
        try:
            with open(descriptor, "w", encoding="utf-8") as file:
                json.dump(document, file, indent=2)
                file.write("\n")
                file.flush()
                os.fsync(descriptor)
            os.replace(name, self.path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise


def read_members(document: Any) -> list[tuple[str, dict[str, Any]]]:
    """Return name and members of each context of a document."""
    known = {"url", "token", "token_file", "ca_file"}
    return [
        (name, {key: value for key, value in members.items() if key in known})
        for name, members in document["contexts"].items()
    ]


def _members(context: Context) -> dict[str, str]:
    members = asdict(context)
    return {key: value for key, value in members.items() if key != "name" and value is not None}
