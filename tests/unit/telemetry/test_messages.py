"""The table of log messages: complete, and made from the log calls of the code."""

import pytest

from vmapi.telemetry.messages.collector import LEVELS, LogCall, collect_messages, find_calls
from vmapi.telemetry.messages.meanings import MEANINGS

MODULE = """
log = structlog.get_logger("vmapi.part")
log.warning("slow", reason=reason)
log.exception(f"{name} failed", vm_id=vm_id)
self.log.info("%s left", name, extra={"pid": 1})
current_app.logger.error("unhandled", exc_info=error)
message.error("no logger")
"""


def test_calls_of_a_module_are_found() -> None:
    assert [*find_calls(MODULE)] == [
        LogCall("slow", "warning", "vmapi.part", ("reason",)),
        LogCall("… failed", "error", "vmapi.part", ("vm_id", "exception")),
        LogCall("… left", "info", "vmapi.part", ("pid",)),
        LogCall("unhandled", "error", "vmapi", ("exception",)),
    ]


def test_message_in_a_variable_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^line 1: a log message is a literal text$"):
        list(find_calls("log.error(detail)"))


def test_every_message_has_a_meaning_and_every_meaning_a_message() -> None:
    assert {message.text for message in collect_messages()} == set(MEANINGS)


def test_every_message_to_watch_has_an_advice() -> None:
    warning = LEVELS.index("warning")
    watched = [message for message in collect_messages() if message.highest_level >= warning]
    assert len(watched) > 40
    assert [message.text for message in watched if not MEANINGS[message.text].advice] == []
