"""Asking an issuer: over what is safe only, straight, and not for ever."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vmapi.auth import json_fetch as fetching
from vmapi.auth.json_fetch import FetchError, fetch_json_object, is_safe_url

Serve = Callable[..., str]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serve one answer on loopback, and return its URL."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    answers: dict[str, tuple[int, dict[str, str], bytes]] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answers[self.path]
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def at(body: bytes, status: int = 200, **headers: str) -> str:
        path = f"/{len(answers)}"
        answers[path] = (status, headers, body)
        return f"http://127.0.0.1:{server.server_port}{path}"

    yield at
    server.shutdown()
    server.server_close()


def test_a_document(serve: Serve) -> None:
    assert fetch_json_object(serve(b'{"a": 1}')) == {"a": 1}


def test_what_is_not_taken(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_DOCUMENT_BYTES", 100)
    good = serve(b"{}")
    for url in (
        serve(b"[]"),
        serve(b"{"),
        serve(b"[" * 90 + b"\xff"),
        serve(b'{"a": "' + b"x" * 100 + b'"}'),
        serve(b"{}", 500),
        serve(b"", 302, Location=good),
        serve(b"", 307, Location="file:///etc/passwd"),
        "http://127.0.0.1:1/nobody",
    ):
        with pytest.raises(FetchError):
            fetch_json_object(url)


def test_an_answer_that_does_not_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "DOCUMENT_FETCH_TIMEOUT", -1.0)
    monkeypatch.setattr("urllib.request.OpenerDirector.open", lambda *_, **__: Endless())
    with pytest.raises(FetchError, match="took too long"):
        fetch_json_object("https://sso.example.org")


class Endless:
    """An answer of which there is always more."""

    def __enter__(self) -> "Endless":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read1(self, _: int) -> bytes:
        return b" "


SAFE = ["https://e.org", "https://e.org:8443/a/b", "http://127.0.0.1:80/x", "http://[::1]/"]
UNSAFE = [
    *("http://e.org/", "http://127.0.0.1.e.org/", "http://localhost.e.org", "http://a@e.org"),
    *("https://a:b@e.org/", "ftp://e.org", "file:///etc/passwd", "//e.org", "", None, 7, ["a"]),
    *("http://localhost:80@e.org/", "https://e.org/ x", "HTTPS://e.org/\n"),
]


@pytest.mark.parametrize("url", SAFE)
def test_safe(url: str) -> None:
    assert is_safe_url(url)


@pytest.mark.parametrize("url", UNSAFE)
def test_not_safe(url: object) -> None:
    assert not is_safe_url(url)
    if isinstance(url, str):
        with pytest.raises(FetchError, match="neither https nor on loopback"):
            fetch_json_object(url)
