"""The operations of the docs page work at the first press, on wide and narrow screens."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.support.docs_page import PageVisit, press
from tests.support.processes import Gunicorn

WIDE, NARROW = 1280, 390
LIFECYCLE = [
    *(("get_vm", "200"), ("get_vm_status", "200"), ("get_vm_console", "200")),
    *(("update_vm", "200"), ("start_vm", "200"), ("pause_vm", "200"), ("resume_vm", "200")),
    *(("restart_vm", "200"), ("stop_vm", "200"), ("delete_vm", "204")),
]
"""Operations on the VM of the page's example, and their statuses."""


@pytest.fixture(params=[WIDE, NARROW])
def visit(
    request: pytest.FixtureRequest, browser: Browser, gunicorn: Callable[..., Gunicorn]
) -> Iterator[PageVisit]:
    server = gunicorn(VMAPI_CALLER_STREAMS="1")
    server.start().wait_for("/readyz")
    size = {"width": request.param, "height": 800}
    with browser.new_context(viewport=size) as context:
        yield PageVisit(context.new_page(), f"http://127.0.0.1:{server.port}", server.call)


def document_operations(visit: PageVisit) -> dict[str, Any]:
    document = visit.call.get_json("/openapi.json")
    return {
        operation["operationId"]: operation
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    }


def settle_as_stopped(visit: PageVisit, vm_id: str) -> None:
    """Stop the VM of the example if the example starts it."""
    vm = visit.call.get_json(f"/api/v1/vms/{vm_id}")
    if vm["status"] != "STOPPED":
        assert visit.call("POST", f"/api/v1/vms/{vm_id}/stop").status == 200


@pytest.mark.parametrize("visit", [NARROW], indirect=True)
def test_every_operation_works_at_the_first_press(visit: PageVisit) -> None:
    operations = document_operations(visit)
    visit.open("/docs")
    assert visit.try_out("create_vm") == "201"
    (vm,) = visit.call.get_json("/api/v1/vms")["items"]
    settle_as_stopped(visit, vm["id"])
    (operation, *_) = visit.call.get_json("/api/v1/operations")["items"]
    others = set(operations) - {name for name, _ in LIFECYCLE} - {"create_vm"}
    for name in sorted(others):
        status = visit.try_out(name, operation_id=operation["id"], code="vm_locked")
        assert status in ("200", "202"), name
        visit.close_operation(name)
    for name, status in LIFECYCLE:
        assert visit.try_out(name, vm_id=vm["id"]) == status, name
        visit.close_operation(name)
    assert visit.overflowing_elements() == []
    visit.check_clean()


@pytest.mark.parametrize("visit", [WIDE], indirect=True)
def test_event_stream_of_the_page_ends_and_frees_its_slot(visit: PageVisit) -> None:
    visit.open("/docs")
    block = visit.open_operation("listen_to_events")
    for _ in range(2):
        press(block.locator(".execute"))
        expect(block.locator(".loading-container")).to_have_count(1)
        expect(block.locator(".loading-container")).to_have_count(0)
        body = block.locator(".live-responses-table .response-col_description").last
        expect(body).to_contain_text("heartbeat")
        expect(block.locator(".request-url")).to_contain_text("wait=10")
    assert visit.call("GET", "/api/v1/events?wait=1").status == 200
    visit.check_clean()


def test_operation_shows_no_samples_of_problems_and_no_links(visit: PageVisit) -> None:
    visit.open("/docs")
    block = visit.open_operation("create_vm")
    for status in ("201", "202"):
        response = block.locator(f"tr.response[data-code='{status}']")
        expect(response.locator(".highlight-code")).to_have_count(1)
    for status in ("401", "409", "422", "503"):
        response = block.locator(f"tr.response[data-code='{status}']")
        expect(response).to_be_visible()
        expect(response.locator(".highlight-code, .example")).to_have_count(0)
        expect(response.locator(".headers-wrapper")).to_have_count(0)
    expect(block.locator(".response-col_links").first).to_be_hidden()
    operation_id = block.locator(".opblock-summary-operation-id")
    is_narrow = visit.page.evaluate("innerWidth") < 600
    expect(operation_id).to_be_hidden() if is_narrow else expect(operation_id).to_be_visible()


def test_link_to_an_operation_opens_it_without_a_warning(visit: PageVisit) -> None:
    visit.open("/docs#/vms/create_vm")
    expect(visit.page.locator("[id$='-create_vm'].is-open")).to_have_count(1)
    visit.check_clean()


def test_page_does_not_overflow(visit: PageVisit) -> None:
    visit.open("/docs")
    for name in ("create_vm", "act_on_vms", "restart_vm", "get_vm_console", "list_audit"):
        visit.open_operation(name)
        assert visit.overflowing_elements() == [], name
