"""Plans of the Python client with scripted replies, on a clock that only pauses advance."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from vmapi.api.openapi.examples import VM as VM_DOCUMENT
from vmapi_client.core.calls.session import CallSession
from vmapi_client.core.exchange import Attempt, Failure, Plan, Reply, Response, T
from vmapi_client.core.replies import Server

LOST = Failure("connection reset")


def respond(status: int, document: Any = None, **headers: str) -> Response:
    """Build a response of vmapi with JSON; `retry_after="1"` becomes `retry-after: 1`."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if document is None:
        return Response(status, names)
    return Response(
        status, {"content-type": "application/json", **names}, json.dumps(document).encode()
    )


def respond_with_vm(
    status_code: int = 200, /, headers: dict[str, str] | None = None, **members: Any
) -> Response:
    """Build a response with a VM that has these members."""
    return respond(status_code, {**VM_DOCUMENT, **members}, **(headers or {}))


def respond_with_problem(status: int, code: str, members: Any = None, **headers: str) -> Response:
    """Build a response with a problem document."""
    document = {
        "type": f"/problems/{code}",
        "title": "A title",
        "status": status,
        "code": code,
        "detail": f"A detail of {code}.",
        "request_id": "req-1",
        **(members or {}),
    }
    return respond(status, document, content_type="application/problem+json", **headers)


@dataclass
class PlanRunner:
    """Runs plans on a clock that advances with each pause and each lost attempt."""

    now: float = 1000.0
    attempts: list[Attempt] = field(default_factory=list)
    timeout: float = 600.0

    def __post_init__(self) -> None:
        server = Server("https://vmapi.example.org", "VMAPI_URL", "VMAPI_TOKEN")
        self.session = CallSession(server, self.timeout, lambda: self.now)

    def run(self, plan: Plan[T], *replies: Reply) -> T:
        """Run a plan with these replies; the last one repeats."""
        script = self._repeat_last(replies)
        try:
            attempt = next(plan)
            while True:
                self.attempts.append(attempt)
                self.now += attempt.delay
                reply = next(script)
                if isinstance(reply, Failure):
                    self.now += 0.01
                attempt = plan.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result

    @property
    def delays(self) -> list[float]:
        """The delays before the attempts."""
        return [attempt.delay for attempt in self.attempts]

    def sent_headers(self, name: str) -> list[str | None]:
        """Return one header of each attempt."""
        return [attempt.request.headers.get(name) for attempt in self.attempts]

    def _repeat_last(self, replies: tuple[Reply, ...]) -> Iterator[Reply]:
        yield from replies
        while True:
            yield replies[-1]
