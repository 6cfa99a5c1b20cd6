"""Generators build complete clients, and each client takes a VM through its whole life."""

from pathlib import Path

import pytest

from tests.support.openapi_tools import OpenapiTools

HERE = Path(__file__).parent


@pytest.mark.parametrize("client", ["openapi-fetch", "hey-api", "orval"])
def test_typescript_client_takes_a_vm_through_its_life(
    compiled_clients: OpenapiTools, client: str
) -> None:
    assert compiled_clients.run("node", f"out/{client}.js") == ""


def test_python_client_takes_a_vm_through_its_life(python_tools: OpenapiTools) -> None:
    python_tools.generate(
        *("openapi-python-client", "generate", "--path", "openapi.json"),
        *("--meta", "none", "--output-path", "vmapi_client", "--fail-on-warning"),
    )
    script = (HERE / "openapi_python_client.py").read_text()
    (python_tools.folder / "lifecycle.py").write_text(script)
    assert python_tools.run(".venv/bin/python", "lifecycle.py") == ""
