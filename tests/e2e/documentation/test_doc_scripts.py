"""The scripts of the how-to guides, when something fails."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.support.api_harness import UNKNOWN_ID
from tests.support.doc_scripts import (
    SCRIPT_SECONDS,
    TruncatingHandler,
    api_url,
    http_server,
    run,
    start,
)
from tests.support.documentation import write_files, write_short_sleep
from tests.support.processes import Gunicorn, build_environment, require_program

NEW_VM = '{"name": "web-2", "flavor": "m1.small", "image": "ubuntu-22.04"}'
SHORT_SLEEP = "import time; sleep = time.sleep; time.sleep = lambda s: sleep(s / 20)\n"
CREATE_IN_BASH = f". ./vmapi.sh; change POST /vms key-1 '{NEW_VM}' >vm.json; cat vm.json"
CHANGES_IN_PYTHON = """
from vmapi_client import Problem, change
def outcome(number, method, path, body=None):
    try:
        return "done", change(method, path, f"key-{number}", body)
    except Problem as problem:
        return problem.status, problem.body
status, body = outcome(0, "POST", "/vms", dict(name="web-3", flavor="m1.small", image="cirros"))
url = "/vms/" + body["vm_id"]
calls = ("POST", "/start"), ("POST", "/pause"), ("POST", "/stop"), ("POST", "/stop"), ("DELETE", "")
print(status, *(outcome(i, m, url + path)[0] for i, (m, path) in enumerate(calls, 1)))
"""
SCRIPTS = {"python": ("nightly.py", sys.executable), "bash": ("nightly.sh", "bash")}


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A folder with the files of both how-to guides."""
    require_program("curl", "curl")
    require_program("jq", "jq")
    write_short_sleep(tmp_path)
    for language in SCRIPTS:
        write_files(f"docs/how-to/robust-script-{language}.md", tmp_path)
    return tmp_path


def test_bash_create_with_a_lost_response_makes_one_vm(
    gunicorn: Callable[..., Gunicorn], scripts: Path
) -> None:
    cloud = gunicorn(VMAPI_MEMORY_LATENCY="create=1.5", VMAPI_MEMORY_FAULTS="lost_answer=1")
    script = CREATE_IN_BASH.replace("wait=30", "wait=1")
    settings = {"API": api_url(cloud.port), "DEADLINE": "120"}
    with start(scripts, "bash", "-euc", script, **settings) as process:
        assert process.stderr is not None
        # the server starts after the first attempt has failed
        assert process.stderr.readline().startswith("POST /vms: no response")
        cloud.start()
        output, errors = process.communicate(timeout=SCRIPT_SECONDS)
    assert process.returncode == 0, errors
    vm = json.loads(output)
    assert (vm["name"], vm["status"], vm["task"]) == ("web-2", "STOPPED", None)
    assert cloud.call.get_json("/api/v1/vms")["total"] == 1


def test_bash_change_repeats_after_a_truncated_response(scripts: Path) -> None:
    TruncatingHandler.truncated_responses = 1
    with http_server() as port:
        url = f"http://127.0.0.1:{port}"
        result = run(scripts, "bash", "-euc", CREATE_IN_BASH, API=url)
    assert result.stdout.encode() == TruncatingHandler.BODY


def test_python_change_repeats_after_a_truncated_response(scripts: Path) -> None:
    TruncatingHandler.truncated_responses = 1
    script = (
        f"{SHORT_SLEEP}from vmapi_client import change; print(change('POST', '/vms', 'k', {{}}))"
    )
    with http_server() as port:
        result = run(scripts, sys.executable, "-c", script, API=f"http://127.0.0.1:{port}")
    assert result.stdout == "{'name': 'web-2'}\n"


def test_python_changes_report_each_outcome(
    gunicorn: Callable[..., Gunicorn], scripts: Path
) -> None:
    cloud = gunicorn(
        VMAPI_MEMORY_LATENCY="0.1", VMAPI_MEMORY_FAULTS="lost_answer=1,action_failed=2"
    )
    url = api_url(cloud.start().port)
    result = run(scripts, sys.executable, "-c", SHORT_SLEEP + CHANGES_IN_PYTHON, API=url)
    # the stop of the create fails, and so does the pause
    assert result.stdout.split() == ["502", "409", "502", "done", "409", "done"]


@pytest.mark.parametrize("language", SCRIPTS)
def test_script_that_is_killed_often_makes_one_vm(
    gunicorn: Callable[..., Gunicorn], scripts: Path, language: str
) -> None:
    cloud = gunicorn(VMAPI_MEMORY_LATENCY="0.3", VMAPI_MEMORY_FAULTS="lost_answer=2")
    cloud.start().wait_for("/readyz")
    file, program = SCRIPTS[language]
    settings = build_environment(API=api_url(cloud.port))
    chance = random.Random(8)
    for _ in range(4):
        process = subprocess.Popen(
            [program, file],
            cwd=scripts,
            env=settings,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        time.sleep(chance.uniform(0.1, 1.0))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    run(scripts, program, file, API=api_url(cloud.port))
    operations = cloud.call.get_json("/api/v1/operations?page_size=100")["items"]
    actions = [operation["action"] for operation in operations]
    # a run after the delete and before the end of the job begins no further VM
    assert actions.count("create") <= 1 + actions.count("delete")
    assert cloud.call.get_json("/api/v1/vms")["total"] == 0


@pytest.mark.parametrize("language", SCRIPTS)
def test_script_reports_a_failed_build(
    gunicorn: Callable[..., Gunicorn], scripts: Path, language: str
) -> None:
    cloud = gunicorn(VMAPI_MEMORY_FAULTS="build_failed=1")
    cloud.start().wait_for("/readyz")
    file, program = SCRIPTS[language]
    result = run(scripts, program, file, succeeds=False, API=api_url(cloud.port))
    assert "build failed" in result.stderr
    assert cloud.call.get_json("/api/v1/vms")["total"] == 0


@pytest.mark.parametrize(("file", "program"), SCRIPTS.values())
def test_slash_at_the_end_of_the_url_does_not_count(
    gunicorn: Callable[..., Gunicorn], scripts: Path, file: str, program: str
) -> None:
    server = gunicorn().start()
    server.wait_for("/readyz")
    assert run(scripts, program, file, API=f"{api_url(server.port)}/").stdout.endswith("done\n")


@pytest.mark.parametrize("arguments", [(), ("",), ("web-", "db-")])
@pytest.mark.parametrize(("file", "program"), SCRIPTS.values())
def test_stop_of_all_vms_requires_a_prefix(
    scripts: Path, file: str, program: str, arguments: tuple[str, ...]
) -> None:
    script = file.replace("nightly", "stop_all")
    result = run(scripts, program, script, *arguments, succeeds=False)
    assert result.stderr.startswith("Usage: ")


@pytest.mark.parametrize("language", SCRIPTS)
def test_script_keeps_its_job_after_a_failed_change(
    gunicorn: Callable[..., Gunicorn], scripts: Path, language: str
) -> None:
    cloud = gunicorn()
    cloud.start().wait_for("/readyz")
    body = {"name": "nightly", "flavor": "m1.small", "image": "cirros"}
    vm = cloud.call("POST", "/api/v1/vms", body).json
    file, program = SCRIPTS[language]
    result = run(scripts, program, file, succeeds=False, API=api_url(cloud.port))
    assert "(name_taken" in result.stderr
    job = (scripts / "nightly.job").read_text()
    cloud.call("DELETE", f"/api/v1/vms/{vm['id']}")
    run(scripts, program, file, API=api_url(cloud.port))
    assert not (scripts / "nightly.job").exists()
    key = f"{job.strip()}-create"
    assert cloud.call.get_json(f"/api/v1/operations?idempotency_key={key}")["total"] == 1


@pytest.mark.parametrize("language", SCRIPTS)
@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://127.0.0.1:1/api/v1", r"Is the URL right, and does vmapi run\? Set API"),
        ("nothing:", r"is not a URL: use http://HOST:PORT/api/v1"),
        ("http://unknown.invalid/api/v1", r"unknown host; check API\."),
        ("http://127.0.0.1:{port}/api/v2", r"\(not_found\S*.*\).*; check API=http"),
        ("http://127.0.0.1:{port}", r"check API=http"),
        ("http://127.0.0.1:{other}/api/v1", r"not vmapi: check API"),
        ("https://127.0.0.1:{port}/api/v1", r"no trusted TLS; check the URL"),
        ("https://127.0.0.1:{secure}/api/v1", r"no trusted TLS; check the URL, or set \w+_CA_"),
    ],
)
def test_script_with_a_wrong_url_says_what_to_do(
    ports: dict[str, int], scripts: Path, language: str, url: str, advice: str
) -> None:
    file, program = SCRIPTS[language]
    result = run(scripts, program, file, succeeds=False, API=url.format(**ports))
    assert re.search(advice, result.stderr), result.stderr
    assert not (scripts / "nightly.job").exists()


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("nothing:", "is not a URL of vmapi"),
        ("http://127.0.0.1:{port}/api/v1/nothing", "answered 404: .*not_found"),
        ("http://127.0.0.1:{other}/api/v1/events", "answered 404: "),
        ("https://127.0.0.1:{secure}/api/v1/events", "the certificate is not trusted"),
    ],
)
def test_listener_with_a_wrong_url_says_so(
    ports: dict[str, int], tmp_path: Path, url: str, advice: str
) -> None:
    write_files("docs/reference/events.md", tmp_path)
    script = "import sys, listen; next(listen.events(sys.argv[1]))"
    command = (sys.executable, "-c", script, url.format(**ports))
    result = run(tmp_path, *command, succeeds=False)
    assert re.search(advice, result.stderr, re.S), result.stderr


@pytest.mark.parametrize("language", SCRIPTS)
def test_script_with_a_wrong_token_says_what_to_do(
    gunicorn: Callable[..., Gunicorn], scripts: Path, language: str
) -> None:
    database = f"sqlite:///{scripts}/vmapi.sqlite3"
    cloud = gunicorn(VMAPI_AUTH="token", VMAPI_DATABASE_URL=database)
    cloud.start().wait_for("/readyz")
    file, program = SCRIPTS[language]
    for settings in ({}, {"TOKEN": "wrong"}):
        result = run(scripts, program, file, succeeds=False, API=api_url(cloud.port), **settings)
        assert "set TOKEN to a valid token" in result.stderr


@pytest.mark.parametrize("language", SCRIPTS)
def test_script_with_a_wrong_flavor_says_so(cloud: Gunicorn, scripts: Path, language: str) -> None:
    file, program = SCRIPTS[language]
    script = scripts / file
    script.write_text(script.read_text().replace("m1.small", "m1.smal"))
    result = run(scripts, program, file, succeeds=False, API=api_url(cloud.port))
    assert "m1.smal" in result.stderr
    assert "flavor_not_found" in result.stderr


@pytest.mark.parametrize("language", SCRIPTS)
def test_script_gives_up_at_its_deadline(scripts: Path, language: str) -> None:
    in_bash = ". ./vmapi.sh; change POST /vms key-1 '{}'"
    in_python = "import vmapi_client; vmapi_client.change('POST', '/vms', 'key-1', {})"
    command = {"bash": ("bash", "-euc", in_bash), "python": (sys.executable, "-c", in_python)}
    result = run(
        scripts, *command[language], succeeds=False, API="http://127.0.0.1:1/api/v1", DEADLINE="1"
    )
    assert re.search(r"not finished after 1 s", result.stderr)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("http://127.0.0.1:1/api/v1", "is API=http://127.0.0.1:1/api/v1 right?"),
        ("nothing:", "Check API=nothing:"),
        ("http://127.0.0.1:{port}/api/v2", "No resource has the URL /api/v2/vms."),
        ("http://127.0.0.1:{unknown}/api/v1", "HTTP 501, not from vmapi: check API="),
        ("https://127.0.0.1:{port}/api/v1", "and its certificate"),
        ("https://127.0.0.1:{secure}/api/v1", "and its certificate"),
    ],
)
def test_tutorial_script_with_a_wrong_url_says_what_to_do(
    ports: dict[str, int], scripts: Path, url: str, advice: str
) -> None:
    write_files("docs/tutorial.md", scripts)
    with http_server(handler=BaseHTTPRequestHandler) as unknown:
        # the script counts the changes of the second, and needs one for its first attempt
        settings = {"API": url.format(**ports, unknown=unknown), "DEADLINE": "4"}
        result = run(scripts, "bash", "create.sh", succeeds=False, **settings)
    assert advice in result.stderr


@pytest.mark.parametrize("language", SCRIPTS)
def test_change_of_a_missing_vm_or_a_taken_name_ends_with_the_reason(
    gunicorn: Callable[..., Gunicorn], scripts: Path, language: str
) -> None:
    cloud = gunicorn()
    cloud.start().wait_for("/readyz")
    body = {"name": "taken", "flavor": "m1.tiny", "image": "cirros"}
    assert cloud.call("POST", "/api/v1/vms", body).status == 201
    for path, sent, code in (
        (f"/vms/{UNKNOWN_ID}/restart", {}, "vm_not_found"),
        ("/vms", body, "name_taken"),
        ("/vms", {**body, "name": "x y"}, "validation_error"),
    ):
        in_bash = f". ./vmapi.sh; change POST {path} key-1 '{json.dumps(sent)}'"
        in_python = f"import vmapi_client; vmapi_client.change('POST', {path!r}, 'key-1', {sent!r})"
        command = {"bash": ("bash", "-euc", in_bash), "python": (sys.executable, "-c", in_python)}
        result = run(scripts, *command[language], succeeds=False, API=api_url(cloud.port))
        assert f"({code}" in result.stderr, result.stderr
