"""Query strings that are parsed once: safe in several threads, and never for another query."""

from concurrent.futures import ThreadPoolExecutor
from sys import getswitchinterval, setswitchinterval

import pytest

from tests.support.api_harness import ApiHarness
from vmapi.api.request import body


def test_many_queries_in_several_threads_are_parsed(harness: ApiHarness) -> None:
    harness.create_running("web-1")
    paths = [f"/vms?page_size={number}" for number in range(1, 301)]
    interval = getswitchinterval()
    setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            responses = list(pool.map(lambda path: harness.call("GET", path), paths * 2))
    finally:
        setswitchinterval(interval)
    assert {response.status_code for response in responses} == {200}
    sizes = [response.json["page_size"] for response in responses]
    assert sizes == [*range(1, 301)] * 2


def test_long_query_is_not_cached(harness: ApiHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(body, "MAX_CACHED_QUERY_CHARS", 0)
    for _ in range(2):
        assert harness.call("GET", "/vms?page_size=7").json["page_size"] == 7
