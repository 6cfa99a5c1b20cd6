"""The reference page of the log, made from the code and the meanings of the messages."""

from vmapi.telemetry.messages.collector import LEVELS, LogMessage, collect_messages
from vmapi.telemetry.messages.meanings import MEANINGS

INTRODUCTION = """\
# Logs

vmapi writes one JSON object a line, in ASCII, to stdout. If stdout is a terminal, the lines are \
coloured text.
Commands other than `worker` write errors only, to stderr. No client can start a line, whatever \
it sends.

| field | meaning |
|---|---|
| `timestamp` | UTC, microseconds |
| `level` | `debug`, `info`, `warning`, `error`, `critical` |
| `logger` | the part of vmapi, as `vmapi.store`, or a library, as `gunicorn.error` |
| `message` | `request` for a request; `vm create succeeded` and the like for the end of an \
operation; else the event |
| `request_id` | as in the response's `X-Request-ID` and in problems |
| `trace_id`, `span_id` | of the current span, with [traces](../how-to/trace.md) switched on |
| `user` | the caller: the token's subject; `jwt:…` or `keystone:…` for tokens of others; \
`anonymous` without a token |
| `endpoint` | method and path, without the query |
| `vm_id` | the VM of the request, or null |
| `status`, `duration_ms` | of the response |
| `graphql_operation` | of a request to `/graphql`: type, name and first fields, such as \
`mutation Deploy: createVm`, cut after 200 characters |
| `graphql_codes` | the problem codes of its errors; the `status` may still be 200 |
| `operation_id`, `code`, `reason` | of the end of an operation, under the `request_id` that \
began it |
| `exception` | a traceback, without the values of variables |

To follow a request, search for its `request_id`.

Passwords, tokens, user data and SSH keys are not logged at any level. Queries and headers are \
not logged either,
also not in gunicorn's own access log. An API token in a path is logged as `vmapi_***`.
If gunicorn cannot read a request, the log names the kind of error, such as `InvalidHeader`.

Messages are stable. Alert on `message` and `level`, not on the text of a whole line.
[Collect logs](../how-to/collect-logs.md) has configurations for log collectors.
The tables leave out `timestamp`, `level`, `message`, and `request_id` and `user` of a request.

"""

LIBRARY_MESSAGES = """\
## Messages of libraries

They have the same form. `logger` names the library.

| message | logger | level | meaning | do |
|---|---|---|---|---|
| `WORKER TIMEOUT (pid:…)` | `gunicorn.error` | critical | a serving process hung for 60 s, and \
is replaced | more memory or processors |
| `Worker (pid:…) was sent SIGKILL! Perhaps out of memory?` | `gunicorn.error` | error | the \
system or an operator killed a serving process | the memory of the machine |
| `Worker (pid:…) exited with code ….` | `gunicorn.error` | error | a serving process has ended; \
another starts | the lines before it |
| `consumer: Cannot connect to …` | `celery.worker.consumer.consumer` | error | a worker cannot \
reach the broker; it uses the database | restart the broker |

Two lines on stderr have another form. A server or worker that refuses its settings writes \
`vmapi does not start: …` and exits. A command with wrong options writes its usage and `Error: …`.
"""


def logs_reference() -> str:
    """Return the reference page of the log in Markdown."""
    messages = collect_messages()
    warning = LEVELS.index("warning")
    watched = [message for message in messages if message.highest_level >= warning]
    others = [message for message in messages if message.highest_level < warning]
    return "\n".join(
        [
            f"{INTRODUCTION}## Messages to watch\n",
            "| message | level | logger | fields | meaning | do |\n|---|---|---|---|---|---|",
            *map(_watched_row, watched),
            "\n## Other messages\n",
            "| message | level | fields | meaning |\n|---|---|---|---|",
            *map(_other_row, others),
            f"\n{LIBRARY_MESSAGES}",
        ]
    )


def _watched_row(message: LogMessage) -> str:
    meaning, advice = MEANINGS[message.text]
    loggers = _join_names(message.loggers)
    return (
        f"| `{message.text}` | {', '.join(message.levels)} | {loggers} "
        f"| {_join_names(message.fields)} | {meaning} | {advice} |"
    )


def _other_row(message: LogMessage) -> str:
    levels, fields = ", ".join(message.levels), _join_names(message.fields)
    return f"| `{message.text}` | {levels} | {fields} | {MEANINGS[message.text].meaning} |"


def _join_names(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)
