"""Fixtures of the client tests: the tools, and servers with and without tokens."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.npm import install_npm_packages, run_installer
from tests.support.openapi_tools import ApiUnderTest, OpenapiTools
from tests.support.processes import Gunicorn
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.access.roles import Role
from vmapi.settings.settings import Settings

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder as `clients`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("clients")


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiUnderTest]:
    """A server that requires tokens, and a token of an operator."""
    folder = tmp_path_factory.mktemp("api")
    url = f"sqlite:///{folder}/vmapi.sqlite3"
    app = create_app(Settings(log_level="CRITICAL", database_url=url), MemoryBackend())
    services = app.extensions["vmapi"]
    token, _ = services.api_tokens.create("me", Role.OPERATOR, "default", None, "cli:me")
    services.store.close()
    # the audit of GraphQL sends its requests at once
    limits = {"VMAPI_RATE_READS": "1000/second"}
    server = Gunicorn(folder, VMAPI_AUTH="token", VMAPI_DATABASE_URL=url, **limits)
    server.start()
    try:
        server.wait_for("/readyz")
        yield ApiUnderTest(server, token)
    finally:
        server.stop()


@pytest.fixture(scope="session")
def anonymous_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gunicorn]:
    """A server that requires no token."""
    server = Gunicorn(tmp_path_factory.mktemp("anonymous"))
    server.start()
    try:
        server.wait_for("/readyz")
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory, api: ApiUnderTest) -> OpenapiTools:
    """The tools from npm, in a folder with the document of `api`."""
    folder = install_npm_packages(HERE, tmp_path_factory.mktemp("tools"))
    return OpenapiTools(folder, api)


@pytest.fixture(scope="session")
def python_tools(tmp_path_factory: pytest.TempPathFactory, api: ApiUnderTest) -> OpenapiTools:
    """The tools from PyPI, in a folder with the document of `api`."""
    folder = tmp_path_factory.mktemp("python-tools")
    run_installer(sys.executable, "-m", "venv", ".venv", folder=folder)
    requirements = str(HERE / "requirements.txt")
    run_installer(".venv/bin/pip", "install", "--quiet", "-r", requirements, folder=folder)
    return OpenapiTools(folder, api)


@pytest.fixture(scope="session")
def compiled_clients(tools: OpenapiTools) -> OpenapiTools:
    """The clients of all TypeScript generators, compiled in strict mode."""
    schema = "generated/openapi-typescript/schema.ts"
    tools.generate("openapi-typescript", "openapi.json", "--output", schema)
    tools.generate("openapi-ts", "--input", "openapi.json", "--output", "generated/hey-api")
    tools.generate("orval", "--config", "orval.config.js")
    tools.run("tsc", "--project", "tsconfig.json")
    return tools
