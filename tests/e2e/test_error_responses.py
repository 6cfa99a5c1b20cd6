"""Every error is a problem, from vmapi, gunicorn and nginx alike."""

import json
import re

import pytest

from tests.support.gateways import Nginx
from tests.support.http_client import HttpClient, send_raw
from tests.support.processes import ROOT, Gunicorn
from vmapi.api.middleware.security_headers import SECURITY_HEADERS
from vmapi.api.problems.types import PROBLEM_TYPES
from vmapi.api.request.body import MAX_BODY_BYTES

VMS = "/api/v1/vms"
AS_JSON = {"Content-Type": "application/json"}
TOO_LONG = "a" * 9000


def test_unknown_url_is_not_found(call: HttpClient) -> None:
    problem = call("GET", "/api/v1/nothing").check_problem(404, "not_found")
    assert problem["instance"] == "/api/v1/nothing"


def test_unsupported_method_lists_the_supported_ones(call: HttpClient) -> None:
    answer = call("PUT", VMS)
    answer.check_problem(405, "method_not_allowed")
    assert answer.headers["Allow"] == "GET, HEAD, OPTIONS, POST"


def test_method_that_nginx_rejects_is_a_problem(call: HttpClient) -> None:
    answer = call("TRACE", VMS)
    assert answer.check_problem(405, "method_not_allowed")["instance"] == VMS
    assert answer.headers["Allow"] == "DELETE, GET, HEAD, OPTIONS, PATCH, POST"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 2 * MAX_BODY_BYTES])
def test_too_large_body_is_rejected(call: HttpClient, size: int) -> None:
    """Vmapi rejects the first size, nginx the second, with the same problem."""
    answer = call("POST", VMS, body=b" " * size, headers=AS_JSON)
    problem = answer.check_problem(413, "payload_too_large")
    assert problem["detail"] == f"The body may have at most {MAX_BODY_BYTES} bytes."
    assert (problem["title"], problem["instance"]) == (
        PROBLEM_TYPES["payload_too_large"].title,
        VMS,
    )


@pytest.mark.parametrize(("path", "status"), [(VMS, 413), ("/nothing", 404), ("/livez", 405)])
def test_unread_body_does_not_hide_the_response(
    front: Nginx, cloud: Gunicorn, path: str, status: int
) -> None:
    body = b" " * (MAX_BODY_BYTES + 1)
    for call in (front.call, cloud.call):
        answers = [call("POST", path, body=body, headers=AS_JSON) for _ in range(5)]
        assert {answer.status for answer in answers} == {status}


def test_body_of_the_maximal_size_is_accepted(call: HttpClient) -> None:
    body = b"{" + b" " * (MAX_BODY_BYTES - 2) + b"}"
    call("POST", VMS, body=body, headers=AS_JSON).check_problem(422, "validation_error")


def test_malformed_json_is_rejected(call: HttpClient) -> None:
    answer = call("POST", VMS, body=b'{"name": ', headers=AS_JSON)
    answer.check_problem(400, "malformed_request")


def test_other_media_type_is_rejected(call: HttpClient) -> None:
    answer = call("POST", VMS, body=b"name=web-1", headers={"Content-Type": "text/plain"})
    answer.check_problem(415, "unsupported_media_type")


@pytest.mark.parametrize(
    "sent",
    [
        f"GET /{TOO_LONG} HTTP/1.1\r\nHost: a\r\n\r\n",
        f"GET /livez HTTP/1.1\r\nHost: a\r\nX-Long: {TOO_LONG}\r\n\r\n",
        "GET /livez HTTP/1.1\r\n\r\n",
        "GET /livez HTTP/7.0\r\nHost: a\r\n\r\n",
        "GET /livez HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: foo\r\n\r\n",
        "GET /li\x1b[31mvez HTTP/1.1\r\nHost: a\r\n\r\n",
        "nonsense\r\n\r\n",
    ],
)
def test_request_that_nginx_cannot_parse_is_a_problem(front: Nginx, sent: str) -> None:
    status, headers, body = send_raw(front.port, sent.encode())
    problem = json.loads(body)
    assert (status, headers["Content-Type"]) == (400, "application/problem+json")
    assert (problem["status"], problem["code"]) == (400, "malformed_request")
    assert problem["request_id"] == headers["X-Request-ID"]
    assert SECURITY_HEADERS.items() <= headers.items()


URL_TOO_LONG = "The first line of a request has at most 8190 bytes."
HEADERS_TOO_LONG = "A header has at most 8190 bytes, a request 100 headers."
NO_HTTP = "The request is not valid HTTP."


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (f"GET /{TOO_LONG} HTTP/1.1\r\nHost: a\r\n\r\n", URL_TOO_LONG),
        (f"GET /livez HTTP/1.1\r\nHost: a\r\nX-Long: {TOO_LONG}\r\n\r\n", HEADERS_TOO_LONG),
        ("GET /livez HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n", NO_HTTP),
        (
            "GET /livez HTTP/1.1\r\nHost: a\r\n" + "X-A: b\r\n" * 101 + "\r\n",
            HEADERS_TOO_LONG,
        ),
        ("nonsense\r\n\r\n", NO_HTTP),
    ],
)
def test_request_that_gunicorn_cannot_parse_is_a_problem(
    cloud: Gunicorn, sent: str, detail: str
) -> None:
    status, headers, body = send_raw(cloud.port, sent.encode())
    assert (status, headers["Content-Type"]) == (400, "application/problem+json")
    assert json.loads(body) == {
        "type": "/problems/malformed_request",
        "title": PROBLEM_TYPES["malformed_request"].title,
        "status": 400,
        "code": "malformed_request",
        "detail": detail,
        "request_id": headers["X-Request-ID"],
    }
    assert SECURITY_HEADERS.items() <= headers.items()
    line = cloud.wait_for_line(request_id=headers["X-Request-ID"])
    assert (line["level"], line["message"][:28]) == ("warning", "request could not be parsed:")


def test_chunks_that_gunicorn_cannot_parse_are_a_problem(cloud: Gunicorn) -> None:
    head = f"POST {VMS} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
    sent = f"{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\nnonsense\r\n\r\n"
    status, headers, body = send_raw(cloud.port, sent.encode())
    assert (status, headers["Content-Type"]) == (400, "application/problem+json")
    assert json.loads(body)["code"] == "malformed_request"


def test_responses_reveal_no_server_version(front: Nginx, cloud: Gunicorn) -> None:
    for call, name in ((front.call, "nginx"), (cloud.call, "gunicorn")):
        for path in ("/livez", "/nothing", f"/{TOO_LONG}"):
            answer = call("GET", path)
            assert answer.headers.get("Server", name) == name
            assert "X-Powered-By" not in answer.headers


def test_internal_pages_of_nginx_are_not_reachable(call: HttpClient) -> None:
    call("GET", "/_problem/backend_error").check_problem(404, "not_found")


@pytest.mark.parametrize(
    ("file", "count"),
    [
        ("config/nginx.conf", 10),
        ("deploy/haproxy/haproxy.cfg", 9),
        ("deploy/haproxy/gateway.cfg", 2),
    ],
)
def test_problems_of_a_proxy_match_the_problem_types(file: str, count: int) -> None:
    text = (ROOT / file).read_text()
    start = r"(?:return|status) (\d+) (?:content-type \S+ (?:lf-)?string )?"
    problems = re.findall(start + "'({.*})'", text)
    assert len(problems) == count
    for status, body in problems:
        problem = json.loads(body.replace("%[var(txn.instance)]", '"/"'))
        problem_type = PROBLEM_TYPES[problem["code"]]
        assert problem["type"] == f"/problems/{problem['code']}"
        assert (problem["status"], problem["title"]) == (int(status), problem_type.title)
        assert int(status) == problem_type.status
