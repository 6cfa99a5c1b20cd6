"""Requests of the README and of a generated client, and all responses, satisfy the document."""

import subprocess

from tests.support.documentation import code_blocks
from tests.support.http_client import WAIT_SECONDS
from tests.support.openapi_tools import ApiUnderTest, OpenapiTools, PrismProxy
from tests.support.processes import ROOT, Gunicorn, build_environment, require_program


def readme_session() -> str:
    blocks = code_blocks(ROOT / "README.md")
    (session,) = [block.text for block in blocks if "SESSION" in block.text]
    return session


def test_first_session_of_the_readme_satisfies_the_document(
    tools: OpenapiTools, anonymous_server: Gunicorn
) -> None:
    require_program("curl", "curl")
    require_program("jq", "jq")
    with PrismProxy(tools, anonymous_server) as proxy:
        result = subprocess.run(
            ["bash", "-c", readme_session().replace("127.0.0.1:8000", f"127.0.0.1:{proxy.port}")],
            env=build_environment(),
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
        assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
        assert "web-1 is deleted" in result.stdout
        invalid = proxy.call("POST", "/api/v1/vms/actions", {"action": "stop"})
        assert (invalid.status, b"oneOf" in invalid.body) == (422, True)


def test_life_of_a_vm_satisfies_the_document(
    compiled_clients: OpenapiTools, api: ApiUnderTest
) -> None:
    with PrismProxy(compiled_clients, api.server) as proxy:
        compiled_clients.run("node", "out/openapi-fetch.js", url=f"http://127.0.0.1:{proxy.port}")
