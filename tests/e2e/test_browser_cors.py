"""Pages of other origins in a browser: access with and without VMAPI_CORS_ORIGINS."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.support.gateways import Nginx
from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import Gunicorn, ServerProcess, free_port
from vmapi.api.request.body import MAX_BODY_BYTES

USE_API = """
async vms => {
  const headers = {"Content-Type": "application/json", "Authorization": "Bearer x",
                   "Idempotency-Key": "k-1", "Prefer": "wait=5"};
  const body = JSON.stringify({name: "web-1", flavor: "m1.tiny", image: "cirros"});
  const created = await fetch(vms, {method: "POST", headers, body});
  const hasHeaders = ["Location", "Operation-Location", "X-Request-ID", "Preference-Applied"]
    .map(name => created.headers.get(name) !== null);
  const vm = await created.json();
  const deleted = await fetch(`${vms}/${vm.id}`, {method: "DELETE", headers: {"If-Match": "*"}});
  const missing = await fetch(`${vms}/${vm.id}`);
  return [created.status, hasHeaders.every(Boolean), deleted.status, missing.status,
          (await missing.json()).code];
}
"""

# a page may send this without a preflight; the browser hides the response from it
STOP_VM = "url => fetch(url, {method: 'POST', mode: 'no-cors'}).catch(() => null)"


class _ForeignPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>foreign</title>")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def origin() -> Iterator[str]:
    """Serve a page of another origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _ForeignPage) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(WAIT_SECONDS)


@pytest.mark.parametrize(
    ("allowed_origin", "result"),
    [
        ("{origin}", [201, True, 204, 404, "vm_not_found"]),
        ("https://console.example.org", None),
        ("", None),
    ],
)
def test_foreign_page_uses_the_api_only_from_an_allowed_origin(
    browser: Browser,
    gunicorn: Callable[..., Gunicorn],
    origin: str,
    allowed_origin: str,
    result: Any,
) -> None:
    """The result is null if the browser blocks the requests."""
    server = gunicorn(VMAPI_CORS_ORIGINS=allowed_origin.format(origin=origin))
    server.start().wait_for("/readyz")
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(origin)
        vms = f"http://127.0.0.1:{server.port}/api/v1/vms"
        assert page.evaluate(f"vms => ({USE_API})(vms).catch(() => null)", vms) == result
    assert server.call.get_json("/api/v1/operations")["total"] == (2 if result else 0)


def test_foreign_page_cannot_stop_a_vm(
    browser: Browser, gunicorn: Callable[..., Gunicorn], origin: str
) -> None:
    server = gunicorn()
    server.start().wait_for("/readyz")
    request = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros", "start": True}
    vm = server.call("POST", "/api/v1/vms", request).json
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(origin)
        page.evaluate(STOP_VM, f"http://127.0.0.1:{server.port}/api/v1/vms/{vm['id']}/stop")
    assert server.wait_for_line(endpoint=f"POST /api/v1/vms/{vm['id']}/stop")["status"] == 403
    assert server.call.get_json(f"/api/v1/vms/{vm['id']}")["status"] == "RUNNING"


ALLOWED_ORIGIN = "https://console.example.org"


@pytest.mark.parametrize(
    ("origin", "allow_origin"), [(ALLOWED_ORIGIN, ALLOWED_ORIGIN), ("https://evil.example", None)]
)
def test_problems_of_nginx_are_readable_from_allowed_origins(
    tmp_path: Path, servers: list[ServerProcess], origin: str, allow_origin: str | None
) -> None:
    front = Nginx(tmp_path, free_port())
    servers.append(front)
    front.replace(f'#"{ALLOWED_ORIGIN}"', f'"{ALLOWED_ORIGIN}"')
    front.start()
    allow_origins = {}
    for method, size in (("POST", 2 * MAX_BODY_BYTES), ("TRACE", 0), ("GET", 0)):
        answer = front.call(method, "/api/v1/vms", body=b" " * size, headers={"Origin": origin})
        allow_origins[answer.status] = answer.headers.get("Access-Control-Allow-Origin")
    assert allow_origins == {413: allow_origin, 405: allow_origin, 502: allow_origin}
