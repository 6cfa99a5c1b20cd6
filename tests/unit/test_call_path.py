"""The length of the way of a create, from its view function to the request to Nova."""

from pathlib import Path

from bench.call_path import open_app, record_create

MAX_FRAMES = 14
MAX_VIEW_MODULES = 48
MAX_MODULES = 92


def test_create_reaches_nova_by_a_short_way() -> None:
    with open_app() as app:
        path = record_create(app.test_client())
    (stack,) = path.http_stacks
    assert stack[0] == "create_vm"
    assert len(stack) <= MAX_FRAMES, stack
    assert len(path.view_modules) <= MAX_VIEW_MODULES, list(path.view_modules)
    assert len(path.modules) <= MAX_MODULES, list(path.modules)


def test_the_architecture_page_has_these_numbers() -> None:
    page = Path(__file__).parents[2] / "docs" / "explanation" / "architecture.md"
    numbers = f"{MAX_FRAMES} frames of vmapi and {MAX_VIEW_MODULES} modules lie between"
    assert numbers in page.read_text()
