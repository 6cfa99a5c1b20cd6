"""A visit of the docs page with a browser."""

from playwright.sync_api import Locator, Page

from tests.support.http_client import WAIT_SECONDS, HttpClient

FIND_OVERFLOWING_ELEMENTS = """() =>
document.documentElement.scrollWidth <= innerWidth ? [] : [...document.querySelectorAll("body *")]
  .filter(element => element.getBoundingClientRect().right > innerWidth)
  .map(element => `${element.tagName}.${element.className}`)
"""
COLLECT_VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", e => violations.push(e.violatedDirective));
"""


def press(button: Locator) -> None:
    """Press a button that the mouse can reach by its key.

    A page that moves between the press and the release of the mouse gets no click.
    """
    button.click(trial=True)
    button.press("Enter")


class PageVisit:
    """An open page, its requests and its complaints."""

    def __init__(self, page: Page, origin: str, call: HttpClient) -> None:
        self.page = page
        self.origin = origin
        self.call = call
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.add_init_script(COLLECT_VIOLATIONS)
        page.set_default_timeout(WAIT_SECONDS * 1000)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", lambda request: self.complaints.append(request.url))
        page.on(
            "console", lambda message: self.complaints.append(f"{message.type}: {message.text}")
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def open(self, path: str) -> "PageVisit":
        self.page.goto(f"{self.origin}{path}")
        self.page.wait_for_selector(".opblock")
        return self

    def authorize(self, token: str) -> None:
        """Enter a token through the Authorize button."""
        self.page.locator(".auth-wrapper .authorize").first.click()
        dialog = self.page.locator(".modal-ux")
        dialog.locator("input").fill(token)
        dialog.locator("button.authorize").click()
        dialog.locator("button.btn-done").click()

    def open_operation(self, operation: str) -> Locator:
        """Open an operation for input, and return its block."""
        block = self.page.locator(f"[id$='-{operation}']")
        press(block.locator(".opblock-summary-control"))
        press(block.locator(".try-out__btn"))
        return block

    def try_out(self, operation: str, **path_parameters: str) -> str:
        """Execute an operation with its example, and return the displayed status.

        Only the parameters in the path are filled in.
        """
        block = self.open_operation(operation)
        for row in block.locator(".parameters tr[data-param-in=path]").all():
            row.locator("input").fill(path_parameters[row.get_attribute("data-param-name") or ""])
        press(block.locator(".execute"))
        status = block.locator(".live-responses-table tbody .response-col_status").inner_text()
        assert self.overflowing_elements() == [], operation
        return status.split()[0]

    def close_operation(self, operation: str) -> None:
        press(self.page.locator(f"[id$='-{operation}'] .opblock-summary-control"))

    def overflowing_elements(self) -> list[str]:
        """Return the visible elements that make the page wider than its window."""
        overflowing: list[str] = self.page.evaluate(FIND_OVERFLOWING_ELEMENTS)
        return overflowing

    def check_clean(self) -> None:
        assert self.complaints == []
        assert self.page.evaluate("violations") == []
        assert [
            url for url in self.requests if not url.startswith((f"{self.origin}/", "data:"))
        ] == []
