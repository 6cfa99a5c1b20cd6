"""What the OpenStack driver and a real cloud say to each other: kept, and played back later.

To record anew, name a cloud and run the suite on it; every test leaves one file in `exchanges/`::

    OS_CLOUD=devcloud RECORD_EXCHANGES=1 pytest tests/contract/test_openstack_live.py

`test_openstack_recorded.py` plays the files back: an answer belongs to a method, a URL and a body,
answers to the same request come in the order they were recorded in, and the last one repeats.
Tokens, passwords and user data are not kept.
"""

import json
import re
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch
from zlib import crc32

import requests

from vmapi.backends.openstack.deadline import DeadlineAdapter

EXCHANGES = Path(__file__).parents[1] / "contract" / "exchanges"
SECRET = ("adminPass", "user_data", "password")
KEPT = ("content-type", "date", "location", "retry-after", "x-openstack-request-id")
TOKEN = "X-Subject-Token"
FAR = "2999-01-01T00:00:00.000000Z"

Json = dict[str, Any]


def recording_of(test: str) -> tuple[str, Path]:
    """Return the label and the file of a test, by its name."""
    name = re.sub(r"\W", "-", test)
    return f"drv-{crc32(test.encode()):08x}", EXCHANGES / f"{name}.json"


@dataclass
class Recorder:
    """Keeps each exchange as it happens; equal ones in a row are counted."""

    file: Path
    about: dict[str, str]
    exchanges: list[Json] = field(default_factory=list)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record all that is sent inside, into the file that also tells `about` it."""
        real = DeadlineAdapter.send

        def send(transport: DeadlineAdapter, request: requests.PreparedRequest, **how: Any) -> Any:
            answer = real(transport, request, **how)
            self._keep(_exchange(request, answer))
            return answer

        with patch.object(DeadlineAdapter, "send", send):
            yield
        self.file.parent.mkdir(exist_ok=True)
        kept = {**self.about, "exchanges": self.exchanges}
        self.file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")

    def _keep(self, exchange: Json) -> None:
        last = self.exchanges[-1] if self.exchanges else {}
        if {**last, "times": 1} == exchange:
            last["times"] += 1
        else:
            self.exchanges.append(exchange)


@contextmanager
def replaying(file: Path) -> Iterator[Json]:
    """Answer all that is sent inside from a file, and give what was said about the recording."""
    about: Json = json.loads(file.read_text())
    answers: dict[str, deque[Json]] = defaultdict(deque)
    for exchange in about.pop("exchanges"):
        answers[_key(exchange)].extend([exchange] * exchange["times"])

    def send(transport: DeadlineAdapter, request: requests.PreparedRequest, **how: Any) -> Any:
        left = answers[_key(_request(request))]
        assert left, f"nothing was recorded for {request.method} {request.url} {request.body!r}"
        return _answer(request, left.popleft() if len(left) > 1 else left[0])

    with patch.object(DeadlineAdapter, "send", send):
        yield about


def _key(exchange: Json) -> str:
    return json.dumps([exchange[part] for part in ("method", "url", "sent")], sort_keys=True)


def _request(request: requests.PreparedRequest) -> Json:
    login = str(request.url).endswith("/auth/tokens")
    sent = None if login or not request.body else _scrubbed(json.loads(request.body))
    return {"method": request.method, "url": request.url, "sent": sent}


def _exchange(request: requests.PreparedRequest, answer: requests.Response) -> Json:
    try:
        body = _scrubbed(answer.json())
    except ValueError:
        body = answer.text
    headers = {name.lower(): text for name, text in answer.headers.items()}
    kept = {name: headers[name] for name in KEPT if name in headers}
    answered = {"status": answer.status_code, "headers": kept, "body": body}
    return {**_request(request), **answered, "times": 1}


def _scrubbed(value: Any) -> Any:
    if isinstance(value, list):
        return [_scrubbed(each) for each in value]
    if not isinstance(value, dict):
        return value
    scrubbed = {key: _scrubbed(each) for key, each in value.items() if key not in SECRET}
    return {**scrubbed, "expires_at": FAR} if "expires_at" in scrubbed else scrubbed


def _answer(request: requests.PreparedRequest, exchange: Json) -> requests.Response:
    answer = requests.Response()
    answer.status_code, answer.url, answer.request = exchange["status"], str(request.url), request
    answer.headers.update({**exchange["headers"], TOKEN: "a-token"})
    body = exchange["body"]
    answer._content = (body if isinstance(body, str) else json.dumps(body)).encode()
    return answer
