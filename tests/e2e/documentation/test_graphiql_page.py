"""The page of GraphQL in a browser: it works offline, under its content security policy."""

from playwright.sync_api import Browser, expect

from tests.support.docs_page import PageVisit
from tests.support.processes import Gunicorn

VM = {"name": "web-1", "flavor": "m1.tiny", "image": "cirros"}
EXECUTE_BUTTON = ".graphiql-execute-button"
SUBSCRIPTION = "subscription { events { kind vm { name } } }"


def open_dialogs(visit: PageVisit) -> None:
    """Open and close each dialog of the page."""
    for label in ("Open settings dialog", "Open short keys dialog"):
        visit.page.get_by_label(label).click()
        visit.page.get_by_role("dialog").get_by_role("button", name="Close dialog").click()
        expect(visit.page.get_by_role("dialog")).to_have_count(0)


def test_page_executes_a_query_and_a_subscription(browser: Browser, gunicorn: Gunicorn) -> None:
    server = gunicorn()
    server.start().wait_for("/readyz")
    with browser.new_context() as context:
        visit = PageVisit(context.new_page(), f"http://127.0.0.1:{server.port}", server.call)
        visit.page.goto(f"{visit.origin}/docs/graphiql")
        result = visit.page.locator(".result-window")
        visit.page.locator(EXECUTE_BUTTON).click()
        expect(result).to_contain_text('"totalCount": 0')
        # the documentation needs the schema
        visit.page.get_by_label("Show Documentation Explorer").click()
        expect(visit.page.locator(".graphiql-doc-explorer")).to_contain_text("Mutation")
        open_dialogs(visit)
        visit.page.evaluate(
            "text => document.querySelector('.graphiql-query-editor .CodeMirror')"
            ".CodeMirror.setValue(text)",
            SUBSCRIPTION,
        )
        # the head of the response comes when the server listens for events
        with visit.page.expect_response(f"{visit.origin}/graphql"):
            visit.page.locator(EXECUTE_BUTTON).click()
        expect(visit.page.get_by_label("Stop query (Ctrl-Enter)")).to_be_visible()
        assert server.call("POST", "/api/v1/vms", VM).status in (201, 202)
        expect(result).to_contain_text("OPERATION_SUCCEEDED")
        with visit.page.expect_event("requestfailed") as failed:
            visit.page.locator(EXECUTE_BUTTON).click()
        assert failed.value.failure == "net::ERR_ABORTED"
        # the page has ended the stream
        visit.complaints.remove(f"{visit.origin}/graphql")
        visit.check_clean()
