"""Arguments of vmctl that scripts get wrong: refused before any request, with the accepted ones."""

import tracemalloc
from typing import Any

import click
import pytest

from tests.support.vmctl import Vmctl
from vmapi_client.cli.braces import expand_braces, expand_names
from vmapi_client.cli.program import vmctl
from vmapi_client.core.calls.session import operation_path, vm_path

FLAVOR = ("--flavor", "m1.tiny", "--image", "cirros")
MEMORY_LIMIT_BYTES = 10_000_000


def find_parameters(command: click.Command, name: str = "vmctl") -> list[tuple[str, Any]]:
    """Return the parameters of a command, and of all commands below it, with a value."""
    found = [
        (f"{name} {parameter.opts[0]}", parameter)
        for parameter in command.params
        if not getattr(parameter, "is_flag", False)
    ]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            subcommand = command.get_command(context, child)
            assert subcommand is not None
            found += find_parameters(subcommand, f"{name} {child}")
    return found


PARAMETERS = dict(find_parameters(vmctl))


@pytest.mark.parametrize("name", PARAMETERS)
def test_empty_text_is_refused_with_the_accepted_values(name: str) -> None:
    parameter = PARAMETERS[name]
    context = click.Context(vmctl)
    with pytest.raises(click.BadParameter) as caught:
        parameter.type.convert("", parameter, context)
    words = ("Accepted: ", "is not one of ", "is no duration: use ", "is no format: use ", "from 1")
    assert any(word in caught.value.message for word in words)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("operation", "show", ""), "it is empty. Accepted: an id of 'vmctl operation list'."),
        (
            ("operation", "wait", ".."),
            "'..' is refused. Accepted: an id of",
        ),
        (("create", "web-1", *FLAVOR, "--network", ""), "Accepted: Name or id of a network."),
        (("create", "web-1", *FLAVOR, "--metadata", "=v"), "'=v' needs the form KEY=VALUE."),
        (("create", "web-1", *FLAVOR, "--user-data", "@"), "'@' is no readable file: Is a dir"),
        (("create", "{a..c}", *FLAVOR), "{a..c} is no range: use {1..3} or {a,b}."),
        (("delete", "-l", "", "--yes"), "Accepted: VMs by metadata, such as 'env=prod,"),
        (("list", "--url", ""), "Accepted: Server to use, without a context."),
        (("event", "watch", "--count", ""), "'' is no whole number from 1 to 1000000000."),
        (("console", "web-1", "--lines", "x"), "'x' is no whole number from 1 to 10000."),
        (("audit", "--limit", "9" * 20), "is no whole number from 1 to 1000000000."),
        (("event", "watch", "--since", "NONSENSE"), "'NONSENSE' is refused. Accepted: the id of"),
        (("event", "watch", "--since", "1\n"), "Accepted: the id of an event, up to 18 digits"),
        (("event", "watch", "--since", "٣"), "Accepted: the id of an event, up to 18 digits"),
        (("event", "watch", "--for", "0s"), "'0s' is too short: a stream has a duration above 0"),
        (("watch", "--for", "0"), "'0' is too short: a stream has a duration above 0"),
        (("watch", "web-1", "--status", "RUNNING"), "Name VMs, or select them with options, not"),
        (("list", "web-1", "--name", "w*"), "Name VMs, or select them with options, not both."),
        (("list", "--deleted", "--status", "ERROR"), "Use --deleted or --status, not both."),
        (("create", "a", *FLAVOR, "--metadata", "k=1", "--metadata", "k="), "'k' is given twice."),
        (("list", "--url", "http://h", "--context", "prod"), "--url and --context: give one of"),
        (("create", "web-1", *FLAVOR, "--user-data", "@/dev/zero"), "more than 1048576 char"),
        (("update", "web-1", "--metadata", "a=1", "--remove-metadata", "a"), "key 'a', not both."),
        (("list", "--url", "ftp://h"), "vmctl: --url is 'ftp://h': it has the form https://"),
        (("lsit",), "No such command 'lsit'. Did you mean 'list'? See 'vmctl --help'."),
        (("event", "list"), "No such command 'list'. See 'vmctl event --help'."),
        (("watch", "--al"), "No such option '--al'"),
        (("man", "--directory", ""), "Accepted: Write one page a command."),
        (("list", "-o", "{{.name"), "'{{.name' is no placeholder: use members only, such as"),
        (("list", "-o", "{{.name}} {{status}}"), "'{{status}}' is no placeholder"),
        (("list", "-o", "{{.name}}{{}}{{.id}}"), "'{{}}' is no placeholder"),
        (("list", "-o", "template={{range .}}"), "'{{range .}}' is no placeholder"),
        (("context", "add", "a b", "http://h"), "'a b' is no name of a context."),
        (("login", "--url", "http://h", "--context", "a\n"), "'a\\n' is no name of a context."),
    ],
)
def test_argument_is_refused_without_a_request(
    offline_vmctl: Vmctl, arguments: tuple[str, ...], message: str
) -> None:
    result = offline_vmctl(*arguments)
    assert (result.exit_code, result.out, result.err.count("\n")) == (2, "", 1), result
    assert message in result.err


@pytest.mark.parametrize("resource_id", ["", ".", ".."])
def test_text_that_names_another_folder_is_no_id(resource_id: str) -> None:
    for build in (vm_path, operation_path):
        with pytest.raises(ValueError, match="is no id of a"):
            build(resource_id)
    assert operation_path("a?b/c") == "/operations/a%3Fb%2Fc"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("web-1", ["web-1"]),
        ("web-{1..3}", ["web-1", "web-2", "web-3"]),
        ("web-{9..11}", ["web-9", "web-10", "web-11"]),
        ("web-{08..11}", ["web-08", "web-09", "web-10", "web-11"]),
        ("{a,b}-{2..1}", ["a-2", "a-1", "b-2", "b-1"]),
        ("web{,-old}", ["web", "web-old"]),
    ],
)
def test_braces_are_expanded_as_in_bash(text: str, names: list[str]) -> None:
    assert list(expand_braces(text)) == names


@pytest.mark.parametrize(
    "texts",
    [
        ["web-{1..100000}"],
        ["web-{1..100}{1..100}{1..100}"],
        ["{1..999}" * 5000],
        ["{a,a}" * 60],
        ["a{1..600}", "b{1..600}"],
        [f"web-{{1..{'9' * 9}}}"],
    ],
    ids=lambda texts: texts[0][:40],
)
def test_too_many_names_are_refused_before_they_are_in_memory(texts: list[str]) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(click.UsageError, match="more than 1000 names"):
            expand_names(texts)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_LIMIT_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "text", ["{", "web-{1..3", "web-1}", "{a,{b,c}}", "{}", "{1..3..2}", f"{{1..{'9' * 5000}}}"]
)
def test_malformed_braces_are_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match=r"use (web-)?\{1\.\.3\} or \{a,b\}"):
        expand_names([text])


def test_many_braces_of_one_name_are_that_name() -> None:
    assert expand_names(["{a}" * 3000, "{a,a}"]) == ["a" * 3000, "a"]
