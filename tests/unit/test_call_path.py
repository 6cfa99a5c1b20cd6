"""The length of the way of a create, from its view function to the request to Nova."""

import pytest

from bench.call_path import open_app, record_create

MAX_FRAMES = 14
MAX_VIEW_MODULES = 50
MAX_MODULES = 89

pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


def test_create_reaches_nova_by_a_short_way() -> None:
    with open_app() as app:
        path = record_create(app.test_client())
    (stack,) = path.http_stacks
    assert stack[0] == "create_vm"
    assert len(stack) <= MAX_FRAMES, stack
    assert len(path.view_modules) <= MAX_VIEW_MODULES, list(path.view_modules)
    assert len(path.modules) <= MAX_MODULES, list(path.modules)
