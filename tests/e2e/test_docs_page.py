"""The docs page in a browser: complete, usable, and at home on this server alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.http_client import WAIT_SECONDS
from tests.support.processes import Gunicorn, Nginx
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.roles import Role
from vmapi.settings.settings import Settings

REPORT = """
window.violations = [];
addEventListener("securitypolicyviolation", e => violations.push(e.violatedDirective));
"""


class Visit:
    """A page, what it asked for, and what it complained about."""

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.add_init_script(REPORT)
        page.set_default_timeout(WAIT_SECONDS * 1000)
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("requestfailed", lambda request: self.complaints.append(request.url))
        page.on("console", lambda told: self.complaints.append(f"{told.type}: {told.text}"))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def opened(self, path: str) -> "Visit":
        self.page.goto(f"{self.origin}{path}")
        self.page.wait_for_selector(".opblock")
        return self

    def authorize(self, token: str) -> None:
        """Give the page a token, by its button."""
        self.page.locator(".auth-wrapper .authorize").first.click()
        dialog = self.page.locator(".modal-ux")
        dialog.locator("input").fill(token)
        dialog.locator("button.authorize").click()
        dialog.locator("button.btn-done").click()

    def try_out(self, operation: str) -> str:
        """Execute an operation with its example, and return the status that is shown."""
        block = self.page.locator(f"[id$='-{operation}']")
        block.locator(".opblock-summary-control").click()
        block.locator(".try-out__btn").click()
        block.locator(".execute").click()
        return block.locator(".live-responses-table tbody .response-col_status").inner_text()

    def is_clean(self) -> None:
        assert self.complaints == []
        assert self.page.evaluate("violations") == []
        assert [url for url in self.asked if not url.startswith((f"{self.origin}/", "data:"))] == []


@pytest.fixture
def visit(browser: Browser, front: Nginx) -> Iterator[Visit]:
    with browser.new_context() as context:
        yield Visit(context.new_page(), f"http://127.0.0.1:{front.port}")


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_page_shows_every_operation(visit: Visit, front: Nginx, path: str) -> None:
    document = front.call.get_json("/openapi.json")
    wanted = {
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    }
    visit.opened(path)
    blocks = visit.page.locator(".opblock")
    expect(blocks).to_have_count(len(wanted))
    ids = blocks.evaluate_all("all => all.map(one => one.id.split('-').pop())")
    assert set(ids) == wanted
    assert visit.page.locator(".info .title").inner_text().startswith("vmapi")
    assert visit.page.url == f"{visit.origin}/docs"
    visit.is_clean()


def test_page_makes_a_vm_and_lists_it(browser: Browser, gunicorn: Gunicorn) -> None:
    server = gunicorn()
    server.start().wait_for("/readyz")
    with browser.new_context() as context:
        visit = Visit(context.new_page(), f"http://127.0.0.1:{server.port}").opened("/docs")
        assert visit.try_out("create_vm") == "201"
        assert visit.try_out("list_vms") == "200"
        shown = visit.page.locator("[id$='-list_vms'] .live-responses-table .highlight-code")
        (vm,) = server.call.get_json("/api/v1/vms")["items"]
        expect(shown.first).to_contain_text(vm["id"])
        visit.is_clean()


def test_page_says_who_it_is_and_forgets_it(
    browser: Browser, gunicorn: Gunicorn, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/vmapi.sqlite3"
    app = create_app(Settings(log_level="CRITICAL", database_url=url), MemoryBackend())
    token, _ = app.extensions["vmapi"].api_tokens.create("me", Role.VIEWER, "web", None, "cli:me")
    server = gunicorn(VMAPI_AUTH="token", VMAPI_DATABASE_URL=url)
    server.start().wait_for("/readyz")
    with browser.new_context() as context:
        visit = Visit(context.new_page(), f"http://127.0.0.1:{server.port}").opened("/docs")
        visit.authorize(token)
        assert visit.try_out("list_vms") == "200"
        assert visit.try_out("create_vm") == "403"
        visit.opened("/docs")
        assert visit.try_out("list_vms") == "401"
        assert token not in str(context.storage_state())
        assert not any(token in asked for asked in visit.asked)


def test_page_refuses_in_the_words_of_the_problem(visit: Visit) -> None:
    visit.opened("/docs")
    block = visit.page.locator("[id$='-get_problem']")
    block.locator(".opblock-summary-control").click()
    block.locator(".try-out__btn").click()
    block.locator(".parameters input").fill("no_such")
    block.locator(".execute").click()
    status = block.locator(".live-responses-table tbody .response-col_status")
    expect(status).to_contain_text("404")
    # that the answer was a 404 is for the console too, and nothing else is
    assert [told for told in visit.complaints if "404 (NOT FOUND)" not in told] == []


def test_assets_are_kept_for_a_while_and_the_page_is_not_framed(front: Nginx) -> None:
    page = front.call("GET", "/docs")
    assert (page.status, page.content_type) == (200, "text/html; charset=utf-8")
    policy = page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    script = front.call("GET", "/docs/assets/swagger-ui-bundle.js")
    assert script.headers["Cache-Control"] == "public, max-age=3600"
    again = {"If-None-Match": script.headers["ETag"]}
    assert front.call("GET", "/docs/assets/swagger-ui-bundle.js", headers=again).status == 304
    front.call("GET", "/docs/assets/README.md").check_problem(404, "not_found")
    front.call("GET", "/docs/assets/..%2f..%2fdocs.py").check_problem(404, "not_found")
