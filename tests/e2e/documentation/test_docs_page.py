"""The docs page in a browser: complete, usable, without requests to other servers."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.support.docs_page import PageVisit
from tests.support.gateways import Nginx
from tests.support.processes import Gunicorn
from vmapi.app import create_app
from vmapi.backends.memory.driver import MemoryBackend
from vmapi.domain.access.roles import Role
from vmapi.settings.settings import Settings

RESOLVE_CREATE_VM = """async () => {
  const document = ui.specSelectors.specJson().toJS();
  const readPaths = [];
  for (const [path, item] of Object.entries(document.paths))
    Object.defineProperty(document.paths, path, {
      enumerable: true,
      get: () => (readPaths.push(path), item),
    });
  const subtree = ["paths", "/api/v1/vms", "post"];
  const { spec } = await ui.fn.resolveSubtree(document, subtree, { baseDoc: location.href });
  return [spec, readPaths];
}"""


@pytest.fixture
def visit(browser: Browser, front: Nginx) -> Iterator[PageVisit]:
    with browser.new_context() as context:
        yield PageVisit(context.new_page(), f"http://127.0.0.1:{front.port}", front.call)


@pytest.mark.parametrize("path", ["/docs", "/docs/"])
def test_page_shows_every_operation(visit: PageVisit, front: Nginx, path: str) -> None:
    document = front.call.get_json("/openapi.json")
    operation_ids = {
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    }
    visit.open(path)
    blocks = visit.page.locator(".opblock")
    expect(blocks).to_have_count(len(operation_ids))
    displayed = blocks.evaluate_all("blocks => blocks.map(block => block.id.split('-').pop())")
    assert set(displayed) == operation_ids
    assert visit.page.locator(".info .title").inner_text().startswith("vmapi")
    assert visit.page.url == f"{visit.origin}/docs"
    visit.check_clean()


def test_page_creates_a_vm_and_lists_it(
    browser: Browser, gunicorn: Callable[..., Gunicorn]
) -> None:
    server = gunicorn()
    server.start().wait_for("/readyz")
    with browser.new_context() as context:
        visit = PageVisit(context.new_page(), f"http://127.0.0.1:{server.port}", server.call).open(
            "/docs"
        )
        assert visit.try_out("create_vm") == "201"
        assert visit.try_out("list_vms") == "200"
        response = visit.page.locator("[id$='-list_vms'] .live-responses-table .highlight-code")
        (vm,) = server.call.get_json("/api/v1/vms")["items"]
        expect(response.first).to_contain_text(vm["id"])
        visit.check_clean()


def start_for_viewer(gunicorn: Callable[..., Gunicorn], folder: Path) -> tuple[Gunicorn, str]:
    """Start a server that requires tokens; return it with the token of a viewer."""
    url = f"sqlite:///{folder}/vmapi.sqlite3"
    app = create_app(Settings(log_level="CRITICAL", database_url=url), MemoryBackend())
    token, _ = app.extensions["vmapi"].api_tokens.create("me", Role.VIEWER, "web", None, "cli:me")
    server = gunicorn(VMAPI_AUTH="token", VMAPI_DATABASE_URL=url)
    server.start().wait_for("/readyz")
    return server, token


def test_page_sends_a_token_and_does_not_store_it(
    browser: Browser, gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    server, token = start_for_viewer(gunicorn, tmp_path)
    with browser.new_context() as context:
        visit = PageVisit(context.new_page(), f"http://127.0.0.1:{server.port}", server.call).open(
            "/docs"
        )
        visit.authorize(token)
        assert visit.try_out("list_vms") == "200"
        assert visit.try_out("create_vm") == "403"
        visit.open("/docs")
        assert visit.try_out("list_vms") == "401"
        assert token not in str(context.storage_state())
        assert not any(token in url for url in visit.requests)


def test_page_keeps_a_token_only_as_long_as_its_owner_wants(
    browser: Browser, gunicorn: Callable[..., Gunicorn], tmp_path: Path
) -> None:
    server, token = start_for_viewer(gunicorn, tmp_path)
    with browser.new_context() as context:
        visit = PageVisit(context.new_page(), f"http://127.0.0.1:{server.port}", server.call)
        visit.open("/docs").authorize(token)
        visit.page.locator("#keep-token").check()
        for _ in range(2):
            visit.open("/docs")
            assert visit.try_out("list_vms") == "200"
        visit.page.locator("#keep-token").uncheck()
        assert token not in str(context.storage_state())
        visit.open("/docs")
        assert visit.try_out("list_vms") == "401"


def test_page_reads_only_the_path_of_an_operation_that_opens(visit: PageVisit) -> None:
    visit.open("/docs")
    resolved, read_paths = visit.page.evaluate(RESOLVE_CREATE_VM)
    assert {parameter["name"] for parameter in resolved["parameters"]} == {
        "Idempotency-Key",
        "Prefer",
    }
    assert "properties" in resolved["responses"]["201"]["content"]["application/json"]["schema"]
    assert set(resolved["responses"]["409"]) - {"$$ref"} == {"description"}
    assert set(read_paths) == {"/api/v1/vms"}
    visit.check_clean()


def test_page_shows_the_problem_of_a_failed_request(visit: PageVisit) -> None:
    visit.open("/docs")
    assert visit.try_out("get_problem", code="no_such") == "404"
    # the console reports the 404, and nothing else
    assert [text for text in visit.complaints if "404 (NOT FOUND)" not in text] == []


def test_assets_are_cached_and_the_page_cannot_be_framed(front: Nginx) -> None:
    page = front.call("GET", "/docs")
    assert (page.status, page.content_type) == (200, "text/html; charset=utf-8")
    policy = page.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    script = front.call("GET", "/docs/assets/swagger-ui-bundle.js")
    assert script.headers["Cache-Control"] == "public, max-age=3600"
    conditional = {"If-None-Match": script.headers["ETag"]}
    assert front.call("GET", "/docs/assets/swagger-ui-bundle.js", headers=conditional).status == 304
    front.call("GET", "/docs/assets/README.md").check_problem(404, "not_found")
    front.call("GET", "/docs/assets/..%2f..%2fdocs.py").check_problem(404, "not_found")
