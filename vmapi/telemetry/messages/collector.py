"""Collect the log messages of vmapi from its source: text, levels, loggers and fields."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import vmapi
from vmapi.telemetry.line_writer import DROPPED_MESSAGE

LEVELS = ("debug", "info", "warning", "error", "critical")
LEVEL_BY_METHOD = {level: level for level in LEVELS} | {"exception": "error"}
LOGGER_EXPRESSIONS = ("log", "self._log", "self.log", "worker.log", "server.log")
FLASK_LOGGER_EXPRESSION = "current_app.logger"
PLACEHOLDER = "…"


@dataclass(frozen=True)
class LogMessage:
    """A message, with the levels, loggers and fields of all its log calls."""

    text: str
    levels: tuple[str, ...]
    loggers: tuple[str, ...]
    fields: tuple[str, ...]

    @property
    def highest_level(self) -> int:
        """The index of its highest level in LEVELS."""
        return max(map(LEVELS.index, self.levels))


@dataclass(frozen=True)
class LogCall:
    """One call of a method of a logger."""

    text: str
    level: str
    logger: str
    fields: tuple[str, ...]


DROPPED_LINES_CALL = LogCall(DROPPED_MESSAGE, "warning", "vmapi.telemetry", ("lines",))
"""The handler writes this line itself: its queue is full."""


def collect_messages() -> list[LogMessage]:
    """Return all messages of the package, by level from the highest on, then by text."""
    calls: dict[str, list[LogCall]] = defaultdict(list)
    for call in [DROPPED_LINES_CALL, *_find_calls_of_package()]:
        calls[call.text].append(call)
    messages = [_join_calls(text, same_text) for text, same_text in calls.items()]
    return sorted(messages, key=lambda message: (-message.highest_level, message.text.lower()))


def _join_calls(text: str, calls: list[LogCall]) -> LogMessage:
    levels = {call.level for call in calls}
    return LogMessage(
        text,
        tuple(level for level in LEVELS if level in levels),
        tuple(sorted({call.logger for call in calls})),
        tuple(dict.fromkeys(field for call in calls for field in call.fields)),
    )


def _find_calls_of_package() -> Iterator[LogCall]:
    for path in sorted(Path(vmapi.__file__).parent.rglob("*.py")):
        yield from find_calls(path.read_text(encoding="utf-8"))


def find_calls(source: str) -> Iterator[LogCall]:
    """Yield the log calls of a module. Raises ValueError for a message that is no literal."""
    tree = ast.parse(source)
    named_loggers = list(_find_logger_names(tree))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        receiver, method = ast.unparse(node.func.value), node.func.attr
        if method not in LEVEL_BY_METHOD:
            continue
        if receiver == FLASK_LOGGER_EXPRESSION:
            logger = "vmapi"
        elif receiver in LOGGER_EXPRESSIONS:
            logger = named_loggers[0] if named_loggers else "gunicorn.error"
        else:
            continue
        fields = tuple(_find_fields(node))
        yield LogCall(_render_text(node.args[0]), LEVEL_BY_METHOD[method], logger, fields)


def _find_logger_names(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            call = node.value
            if ast.unparse(call.func).endswith("get_logger"):
                yield ast.literal_eval(call.args[0])


def _find_fields(call: ast.Call) -> Iterator[str]:
    for keyword in call.keywords:
        if keyword.arg == "extra" and isinstance(keyword.value, ast.Dict):
            yield from (ast.literal_eval(key) for key in keyword.value.keys if key)
        elif keyword.arg not in (None, "extra", "exc_info"):
            yield str(keyword.arg)
    has_traceback = any(keyword.arg == "exc_info" for keyword in call.keywords)
    if has_traceback or (isinstance(call.func, ast.Attribute) and call.func.attr == "exception"):
        yield "exception"


def _render_text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value.replace("%s", PLACEHOLDER)
    if isinstance(node, ast.JoinedStr):
        parts = (
            str(part.value) if isinstance(part, ast.Constant) else PLACEHOLDER
            for part in node.values
        )
        return "".join(parts)
    raise ValueError(f"line {node.lineno}: a log message is a literal text")
