"""Event streams on a system that refuses new threads."""

import logging

import pytest

from tests.support.fake_body import FakeBody, OpenReader, check_served
from tests.support.http_client import wait_until
from tests.support.no_free_thread import refusing_threads
from tests.support.worker_thread import WorkerThread
from vmapi.server import body_writer


def test_stream_without_a_free_thread_to_load_it_is_closed(
    worker: WorkerThread,
    open_reader: OpenReader,
    bodies: list[FakeBody],
    caplog: pytest.LogCaptureFixture,
) -> None:
    readers = [open_reader(number) for number in range(2)]
    bodies[0].must_load = True
    with caplog.at_level(logging.CRITICAL), refusing_threads("stream-loader"):
        bodies[0].wake()
        assert readers[0].read_line() == b""
    wait_until("the release of the body", lambda: bodies[0].is_released)
    check_served(worker.address)
    bodies[0].load_gate.set()
    bodies[1].push(b"news")
    assert readers[1].read_chunk() == b"news"


def test_credentials_are_checked_when_a_thread_is_free_again(
    monkeypatch: pytest.MonkeyPatch, open_reader: OpenReader, bodies: list[FakeBody]
) -> None:
    monkeypatch.setattr(body_writer, "CREDENTIALS_CHECK_SECONDS", 0.01)
    with refusing_threads("stream-credentials"):
        reader = open_reader()
        for _ in range(2):
            bodies[0].due_at = 0.0
            assert reader.read_chunk() == b"due\n"
        bodies[0].is_permitted = lambda: False
    assert reader.read_chunk() == b""
