"""Linters and RE2 accept the OpenAPI document."""

from pathlib import Path

from tests.support.openapi_tools import OpenapiTools

HERE = Path(__file__).parent


def test_spectral_reports_no_error_and_no_warning(tools: OpenapiTools) -> None:
    options = ("--ruleset", ".spectral.yaml", "--fail-severity", "warn")
    assert "No results" in tools.run("spectral", "lint", "openapi.json", *options)


def test_redocly_reports_no_error_and_no_warning(tools: OpenapiTools) -> None:
    assert tools.run("node", "redocly.js") == "[]\n"


def test_re2_compiles_every_pattern(python_tools: OpenapiTools) -> None:
    output = python_tools.run(".venv/bin/python", str(HERE / "re2_patterns.py"))
    assert int(output.split()[0]) > 5
