"""The parts of vmctl without a server: help, man pages, formats, names, and imports."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
import yaml

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import ROOT, build_environment
from vmapi.api.openapi.examples import VM as VM_DOCUMENT
from vmapi_client.cli.app import App
from vmapi_client.cli.commands.login import choose_context
from vmapi_client.cli.exit_codes import (
    EXIT_CODES,
    MEANINGS,
    combine_exit_codes,
    exit_code_of,
)
from vmapi_client.cli.man import write_pages
from vmapi_client.cli.output import views
from vmapi_client.cli.output.formats import fill_template, find_member, format_value
from vmapi_client.cli.output.table import Column, View, fit_columns
from vmapi_client.cli.output.yaml import format_yaml
from vmapi_client.cli.parameters import Duration, StatusChoice
from vmapi_client.cli.program import COMMANDS, vmctl
from vmapi_client.cli.selection import Selection
from vmapi_client.contexts import Context, ContextStore
from vmapi_client.core.replies import build_operation_error
from vmapi_client.errors.codes import ERRORS_BY_CODE
from vmapi_client.http.failures import describe_failure
from vmapi_client.models import VM, Problem

DOCUMENT = {"name": "web-1", "metadata": {"env": "prod", "a.b": "c"}, "tags": ["x", "y"]}
HEAVY_LIBRARIES = ("httpx", "rich", "pygments", "ssl", "anyio")


def all_commands(command: click.Command, name: str = "vmctl") -> Iterator[tuple[str, Any]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            subcommand = command.get_command(context, child)
            assert subcommand is not None
            yield from all_commands(subcommand, f"{name} {child}")


LEAVES = [item for item in all_commands(vmctl) if not isinstance(item[1], click.Group)]


@pytest.mark.parametrize(("name", "command"), LEAVES)
def test_help_of_each_command_has_examples(name: str, command: click.Command) -> None:
    context = click.Context(command, info_name=name, terminal_width=100)
    text = command.get_help(context)
    examples = text.partition("Examples:\n")[2].strip().splitlines()
    assert examples
    assert [line for line in examples if not line.strip().startswith(name)] == []
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help or parameter.metavar or parameter.type.name, parameter.name


def test_list_of_commands_has_the_first_lines_of_their_help() -> None:
    context = click.Context(vmctl)
    for name, (_, line) in COMMANDS.items():
        command = vmctl.get_command(context, name)
        assert command is not None
        assert command.get_short_help_str(100) == line, name


def test_man_pages_are_made_for_all_commands() -> None:
    pages = write_pages(vmctl)
    assert set(pages) == {name.replace(" ", "-") for name, _ in all_commands(vmctl)}
    page = pages["vmctl-create"]
    assert page.startswith('.TH "VMCTL-CREATE" "1"')
    assert ".B \\-\\-flavor TEXT" in page
    assert ".SH EXIT STATUS" in pages["vmctl"]
    assert pages["vmctl"].endswith(".B 130\ninterrupted by Ctrl\\-C\n")
    assert not [line for page in pages.values() for line in page.split("\n") if line[:1] == "'"]


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["context", "list"]])
def test_start_imports_no_library_that_it_does_not_use(arguments: list[str]) -> None:
    script = f"""
import sys
sys.argv = ["vmctl", *{arguments!r}]
from vmapi_client.cli.entry import main
try:
    main()
finally:
    print(*(name for name in {HEAVY_LIBRARIES!r} if name in sys.modules), file=sys.stderr)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env=build_environment(VMAPI_CONTEXTS_FILE="/nonexistent/contexts.json"),
        capture_output=True,
        text=True,
        check=True,
        timeout=WAIT_SECONDS,
    )
    assert ran.stderr.strip() == ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90", 90), ("30s", 30), ("1.5m", 90), ("2h", 7200), ("1d", 86400), ("1w", 604800)],
)
def test_durations_have_units(text: str, expected: float) -> None:
    assert Duration().convert(text, None, None) == timedelta(seconds=expected)


def test_statuses_are_accepted_in_any_case_and_shown_as_vmapi_does() -> None:
    choice = StatusChoice(["RUNNING", "STOPPED"])
    assert [choice.convert(text, None, None) for text in ("running", "Stopped")] == [
        "RUNNING",
        "STOPPED",
    ]
    with pytest.raises(click.BadParameter, match="is not one of 'RUNNING', 'STOPPED'"):
        choice.convert("up", None, None)


def test_members_are_found_by_dotted_paths() -> None:
    assert find_member(DOCUMENT, "metadata.env") == "prod"
    assert find_member(DOCUMENT, "metadata.a.b") == "c"
    assert find_member(DOCUMENT, "name.x") is None
    template = "{{.name}}/{{ .metadata.env }}/{{.none}}/{{.tags}}"
    assert fill_template(template, DOCUMENT) == "web-1/prod//x,y"


@pytest.mark.parametrize(
    ("path", "refusal"),
    [
        ("metadata.a.b", None),
        ("fault.code", None),
        ("fault", None),
        ("fault.x", "use fault.code, fault.message, fault.hint."),
        ("name.x", "name has no members"),
        ("", "use id, name, flavor, image, "),
        ("extra", "use id, name, flavor, image, "),
    ],
)
def test_unknown_members_are_refused_with_the_members_that_exist(
    path: str, refusal: str | None
) -> None:
    answer = views.VM_VIEW.refuse_member(path)
    assert answer is None if refusal is None else refusal in str(answer)


def test_columns_of_tables_are_members() -> None:
    tables = {name: view for name, view in vars(views).items() if isinstance(view, View)}
    tables.pop("EVENT_VIEW")  # `subject` is made for the table
    for view in tables.values():
        assert [c.path for c in view.columns if view.refuse_member(c.path)] == []


def test_values_are_one_line_without_control_characters() -> None:
    assert (
        format_value("a\x1b[31m\nb") == "a\N{REPLACEMENT CHARACTER}[31m\N{REPLACEMENT CHARACTER}b"
    )
    assert format_value({"a": True, "b": None}) == "a=true,b="


@pytest.mark.parametrize(
    "document",
    [
        [],
        {},
        "no",
        [DOCUMENT, {"nested": [{"a": []}, [1, [2]]], "empty": {}}],
        {"on": "yes", "1": "1", "text": "a: b # c", "multi": "a\nb", "é": "\x00\t", "n": None},
        {"float": 1.5, "bool": False, "date": "2026-01-02", "tilde": "~", "dash": "-", "x": "a:b"},
        {"emoji \N{GRINNING FACE}": "\N{GRINNING FACE}", "next line": "\x85", "mark": "\ufeff"},
    ],
)
def test_yaml_is_read_as_the_same_document(document: Any) -> None:
    assert yaml.safe_load(format_yaml(document)) == document


def test_narrow_table_shrinks_the_columns_that_may() -> None:
    columns = [Column("NAME", "name"), Column("IMAGE", "image", shrinks=True)]
    assert fit_columns(columns, [20, 30], 80) == [20, 30]
    assert fit_columns(columns, [20, 30], 40) == [20, 18]
    assert fit_columns(columns, [60, 30], 40) == [32, 6]


def test_each_kind_of_error_has_an_exit_code() -> None:
    codes = {}
    for code, cls in ERRORS_BY_CODE.items():
        problem = Problem(type="", title="", status=400, code=code, detail="")
        assert type(build_operation_error(problem)) is cls
        codes[code] = exit_code_of(build_operation_error(problem))
    assert set(EXIT_CODES.values()) < set(MEANINGS)
    expected = {
        "validation_error": 2,
        "vm_not_found": 3,
        "invalid_state": 4,
        "name_taken": 4,
        "forbidden": 5,
        "quota_exceeded": 5,
        "unauthenticated": 5,
        "backend_unavailable": 6,
        "rate_limited": 6,
        "backend_timeout": 7,
        "build_failed": 1,
        "internal_error": 1,
    }
    assert {code: codes[code] for code in expected} == expected


@pytest.mark.parametrize(
    ("codes", "combined"), [([], 0), ([0, 0], 0), ([4, 4], 4), ([0, 4], 8), ([3, 4], 1), ([3], 3)]
)
def test_exit_codes_of_several_vms_are_combined(codes: list[int], combined: int) -> None:
    assert combine_exit_codes(codes) == combined


def test_json_of_a_template_is_no_format_error() -> None:
    assert json.loads(fill_template('{"name": "{{.name}}"}', DOCUMENT)) == {"name": "web-1"}


def test_page_of_vmctl_lists_the_exit_codes() -> None:
    page = (ROOT / "docs/how-to/vmctl.md").read_text()
    rows = [f"| {code} | {meaning} |" for code, meaning in MEANINGS.items()]
    assert "\n".join(rows) in page


def test_watch_shows_a_vm_once_it_is_old_enough() -> None:
    created = VM.from_json(VM_DOCUMENT)
    selection = Selection(older_than=timedelta(hours=1))
    assert not selection.matches(created, created.created_at + timedelta(minutes=59))
    assert selection.matches(created, created.created_at + timedelta(hours=1))
    assert not selection.matches(created, None)


def test_login_stores_the_certificates_of_its_option(tmp_path: Path) -> None:
    store = ContextStore(tmp_path / "contexts.json")
    store.save(Context("prod", "https://h", ca_file="/old.pem"))
    assert choose_context(App(), store).ca_file == "/old.pem"
    assert choose_context(App({"ca_file": "/new.pem"}), store).ca_file == "/new.pem"


def test_connections_that_are_all_in_use_are_named() -> None:
    failure = describe_failure(httpx.PoolTimeout(""))
    assert failure.reason == "other calls and streams of the client use all its connections"
