"""The command `docs`, and the generated pages in the repository."""

import pytest
from flask import Flask

from tests.support.processes import ROOT
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.settings.settings import Settings

PAGES = {
    "settings": "docs/reference/settings.md",
    "problems": "docs/reference/problems.md",
    "commands": "docs/reference/commands.md",
    "authorization": "docs/reference/authorization.md",
    "metrics": "docs/reference/metrics.md",
    "logs": "docs/reference/logs.md",
    "schema": "docs/reference/schema.graphql",
    "env": "config/.env.example",
}


@pytest.fixture(scope="module")
def app() -> Flask:
    return create_app(Settings(log_level="CRITICAL"), MemoryBackend())


def run(app: Flask, *args: str) -> str:
    with app.app_context():
        result = app.test_cli_runner().invoke(args=args)
    assert result.exit_code == 0, result.output
    return str(result.output)


@pytest.mark.parametrize("page", PAGES)
def test_generated_page_is_current(app: Flask, page: str) -> None:
    """Run `make docs` if this test fails."""
    assert (ROOT / PAGES[page]).read_text() == run(app, "docs", page)


def test_roles_prints_the_table_of_the_authorization_page(app: Flask) -> None:
    assert run(app, "docs", "authorization").endswith(f"\n\n{run(app, 'roles')}")


def test_commands_page_has_every_command(app: Flask) -> None:
    page = run(app, "docs", "commands")
    headings = {line.split()[1] for line in page.splitlines() if line.startswith("## ")}
    assert headings == {
        "audit",
        "check",
        "db",
        "docs",
        "inventory",
        "operations",
        "roles",
        "serve",
        "support-bundle",
        "token",
        "worker",
    }
