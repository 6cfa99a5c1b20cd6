"""Fetching JSON from an issuer: safe URLs, no redirects, bounded size and time."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vmapi.auth import json_fetch
from vmapi.auth.json_fetch import FetchError, fetch_json_object, is_safe_url

Serve = Callable[..., str]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serve a response on loopback, and return its URL."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    responses: dict[str, tuple[int, dict[str, str], bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = responses[self.path]
            if status:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def add(body: bytes, status: int = 200, **headers: str) -> str:
        path = f"/{len(responses)}"
        responses[path] = (status, headers, body)
        return f"http://127.0.0.1:{server.server_port}{path}"

    yield add
    server.shutdown()
    server.server_close()


def test_json_object_is_returned(serve: Serve) -> None:
    assert fetch_json_object(serve(b'{"a": 1}')) == {"a": 1}


def test_unusable_response_is_an_error(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_fetch, "MAX_DOCUMENT_BYTES", 100)
    good = serve(b"{}")
    for url in (
        serve(b"[]"),
        serve(b"{"),
        serve(b"[" * 90 + b"\xff"),
        serve(b'{"a": "' + b"x" * 100 + b'"}'),
        serve(b"{}", 500),
        serve(b"", 302, Location=good),
        serve(b"", 307, Location="file:///etc/passwd"),
        serve(b"SSH-2.0-OpenSSH_9.2\r\n", 0),
        serve(b"HTTP/1.1 200 " + b"x" * 70_000, 0),
        serve(b"not a chunk", **{"Transfer-Encoding": "chunked"}),
        "http://127.0.0.1:1/refused",
    ):
        with pytest.raises(FetchError):
            fetch_json_object(url)


def test_endless_response_times_out(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_fetch, "DOCUMENT_FETCH_TIMEOUT", -1.0)
    monkeypatch.setattr("urllib.request.OpenerDirector.open", lambda *_, **__: EndlessResponse())
    with pytest.raises(FetchError, match="took too long"):
        fetch_json_object("https://sso.example.org")


class EndlessResponse:
    """A response with an endless body."""

    def __enter__(self) -> "EndlessResponse":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read1(self, _: int) -> bytes:
        return b" "


SAFE_URLS = ["https://e.org", "https://e.org:8443/a/b", "http://127.0.0.1:80/x", "http://[::1]/"]
UNSAFE_URLS = [
    *("http://e.org/", "http://127.0.0.1.e.org/", "http://localhost.e.org", "http://a@e.org"),
    *("https://a:b@e.org/", "ftp://e.org", "file:///etc/passwd", "//e.org", "", None, 7, ["a"]),
    *("http://localhost:80@e.org/", "https://e.org/ x", "HTTPS://e.org/\n"),
]


@pytest.mark.parametrize("url", SAFE_URLS)
def test_safe_url(url: str) -> None:
    assert is_safe_url(url)


@pytest.mark.parametrize("url", UNSAFE_URLS)
def test_unsafe_url_is_not_fetched(url: object) -> None:
    assert not is_safe_url(url)
    if isinstance(url, str):
        with pytest.raises(FetchError, match="neither https nor on loopback"):
            fetch_json_object(url)
