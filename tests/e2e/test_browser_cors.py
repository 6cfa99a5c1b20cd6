"""A page of another origin, in a browser: it reads what it may, where it was named."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import Gunicorn, Nginx, ServerProcess, free_port
from vmapi.app import MAX_BODY_BYTES

USE = """
async vms => {
  const headers = {"Content-Type": "application/json", "Authorization": "Bearer x",
                   "Idempotency-Key": "k-1", "Prefer": "wait=5"};
  const body = JSON.stringify({name: "web-1", flavor: "m1.tiny", image: "cirros"});
  const made = await fetch(vms, {method: "POST", headers, body});
  const seen = ["Location", "Operation-Location", "X-Request-ID", "Preference-Applied"]
    .map(name => made.headers.get(name) !== null);
  const vm = await made.json();
  const gone = await fetch(`${vms}/${vm.id}`, {method: "DELETE", headers: {"If-Match": "*"}});
  const lost = await fetch(`${vms}/${vm.id}`);
  return [made.status, seen.every(Boolean), gone.status, lost.status, (await lost.json()).code];
}
"""

# what a page may send without asking; the answer is kept from it
STOP = "url => fetch(url, {method: 'POST', mode: 'no-cors'}).catch(() => null)"


class _Theirs(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>theirs</title>")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def origin() -> Iterator[str]:
    """Serve a page of another origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Theirs) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(WAIT_SECONDS)


@pytest.mark.parametrize(
    ("named", "seen"),
    [
        ("{origin}", [201, True, 204, 404, "vm_not_found"]),
        ("https://console.example.org", None),
        ("", None),
    ],
)
def test_a_page_of_another_origin(
    browser: Browser, gunicorn: Callable[..., Gunicorn], origin: str, named: str, seen: Any
) -> None:
    """It sees null where the browser keeps everything from it."""
    server = gunicorn(VMAPI_CORS_ORIGINS=named.format(origin=origin))
    server.start().wait_for("/readyz")
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(origin)
        vms = f"http://127.0.0.1:{server.port}/api/v1/vms"
        assert page.evaluate(f"vms => ({USE})(vms).catch(() => null)", vms) == seen
    assert server.call.get_json("/api/v1/operations")["total"] == (2 if seen else 0)


def test_a_page_of_another_origin_stops_nothing(
    browser: Browser, gunicorn: Callable[..., Gunicorn], origin: str
) -> None:
    server = gunicorn()
    server.start().wait_for("/readyz")
    wanted = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros", "start": True}
    vm = server.call("POST", "/api/v1/vms", wanted).json
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(origin)
        page.evaluate(STOP, f"http://127.0.0.1:{server.port}/api/v1/vms/{vm['id']}/stop")
    assert server.wait_for_line(endpoint=f"POST /api/v1/vms/{vm['id']}/stop")["status"] == 403
    assert server.call.get_json(f"/api/v1/vms/{vm['id']}")["status"] == "RUNNING"


NAMED = "https://console.example.org"


@pytest.mark.parametrize(("origin", "shown"), [(NAMED, NAMED), ("https://evil.example", None)])
def test_what_nginx_refuses_is_shown_to_named_origins(
    tmp_path: Path, servers: list[ServerProcess], origin: str, shown: str | None
) -> None:
    front = Nginx(tmp_path, free_port())
    servers.append(front)
    front.replace(f'#"{NAMED}"', f'"{NAMED}"')
    front.start()
    told = {}
    for method, size in (("POST", 2 * MAX_BODY_BYTES), ("TRACE", 0), ("GET", 0)):
        answer = front.call(method, "/api/v1/vms", body=b" " * size, headers={"Origin": origin})
        told[answer.status] = answer.headers.get("Access-Control-Allow-Origin")
    assert told == {413: shown, 405: shown, 502: shown}
