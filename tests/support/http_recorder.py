"""Recorded exchanges between the OpenStack driver and a real cloud.

To record again, name a cloud and run the suite on it; each test writes one file of `exchanges/`::

    OS_CLOUD=devcloud RECORD_EXCHANGES=1 pytest tests/contract/test_openstack_live.py

`test_openstack_recorded.py` replays the files: a response belongs to a method, a URL and a body.
Responses to equal requests come in the recorded order, and the last one repeats. The files hold no
tokens, passwords or user data.
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

from vmapi.backends.openstack.connection.deadline import DeadlineAdapter

EXCHANGES = Path(__file__).parents[1] / "contract" / "exchanges"
SECRET_MEMBERS = ("adminPass", "user_data", "password")
RECORDED_HEADERS = ("content-type", "date", "location", "retry-after", "x-openstack-request-id")
TOKEN_HEADER = "X-Subject-Token"
TOKEN_EXPIRY = "2999-01-01T00:00:00.000000Z"

Json = dict[str, Any]


def recording_path(test_name: str) -> Path:
    """Return the file with the exchanges of a test."""
    return EXCHANGES / f"{re.sub(r'[^A-Za-z0-9_]', '-', test_name)}.json"


def label_of(test_name: str) -> str:
    """Return a label for the names and ids of a test, short enough for a server name."""
    return f"drv-{crc32(test_name.encode()):08x}"


@dataclass
class HttpRecorder:
    """Records exchanges and counts equal ones in a row.

    `about` holds further members of the file: the cloud and the label of the test.
    """

    path: Path
    about: dict[str, str]
    exchanges: list[Json] = field(default_factory=list)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record all requests of a `with` block into the file."""
        send = DeadlineAdapter.send

        def send_and_record(
            adapter: DeadlineAdapter, request: requests.PreparedRequest, **options: Any
        ) -> Any:
            response = send(adapter, request, **options)
            self._record(_exchange(request, response))
            return response

        with patch.object(DeadlineAdapter, "send", send_and_record):
            yield
        self.path.parent.mkdir(exist_ok=True)
        recording = {**self.about, "exchanges": self.exchanges}
        self.path.write_text(json.dumps(recording, indent=1, ensure_ascii=False) + "\n")

    def _record(self, exchange: Json) -> None:
        last = self.exchanges[-1] if self.exchanges else {}
        if {**last, "times": 1} == exchange:
            last["times"] += 1
        else:
            self.exchanges.append(exchange)


@contextmanager
def replaying(path: Path) -> Iterator[Json]:
    """Answer all requests of a `with` block from a file; yield the other members of the file."""
    about: Json = json.loads(path.read_text())
    exchanges: dict[str, deque[Json]] = defaultdict(deque)
    for exchange in about.pop("exchanges"):
        exchanges[_key(exchange)].extend([exchange] * exchange["times"])

    def replay(adapter: DeadlineAdapter, request: requests.PreparedRequest, **options: Any) -> Any:
        remaining = exchanges[_key(_request(request))]
        assert remaining, f"no recording of {request.method} {request.url} {request.body!r}"
        return _response(request, remaining.popleft() if len(remaining) > 1 else remaining[0])

    with patch.object(DeadlineAdapter, "send", replay):
        yield about


def _key(exchange: Json) -> str:
    return json.dumps([exchange[member] for member in ("method", "url", "sent")], sort_keys=True)


def _request(request: requests.PreparedRequest) -> Json:
    is_login = str(request.url).endswith("/auth/tokens")
    body = None if is_login or not request.body else _without_secrets(json.loads(request.body))
    return {"method": request.method, "url": request.url, "sent": body}


def _exchange(request: requests.PreparedRequest, response: requests.Response) -> Json:
    try:
        body = _without_secrets(response.json())
    except ValueError:
        body = response.text
    headers = {name.lower(): text for name, text in response.headers.items()}
    recorded_headers = {name: headers[name] for name in RECORDED_HEADERS if name in headers}
    recorded_response = {
        "status": response.status_code,
        "headers": recorded_headers,
        "body": body,
    }
    return {**_request(request), **recorded_response, "times": 1}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    public = {
        key: _without_secrets(item) for key, item in value.items() if key not in SECRET_MEMBERS
    }
    return {**public, "expires_at": TOKEN_EXPIRY} if "expires_at" in public else public


def _response(request: requests.PreparedRequest, exchange: Json) -> requests.Response:
    response = requests.Response()
    response.status_code = exchange["status"]
    response.url = str(request.url)
    response.request = request
    response.headers.update({**exchange["headers"], TOKEN_HEADER: "a-token"})
    body = exchange["body"]
    response._content = (body if isinstance(body, str) else json.dumps(body)).encode()
    return response
