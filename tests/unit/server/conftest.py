"""Fixtures of a worker in a thread of the test, with streams."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.fake_body import FIRST_BYTES, FakeBody, OpenReader, StreamApp, StreamReader
from tests.support.worker_thread import WorkerThread, serve


@pytest.fixture
def bodies() -> list[FakeBody]:
    return [FakeBody(f"token-{number}") for number in range(8)]


@pytest.fixture
def connections() -> int:
    """The limit of connections; a test overrides it by a parameter."""
    return 1000


@pytest.fixture
def worker(bodies: list[FakeBody], connections: int) -> Iterator[WorkerThread]:
    with serve(StreamApp(bodies), connections) as worker:
        yield worker


@pytest.fixture
def open_reader(worker: WorkerThread) -> Iterator[OpenReader]:
    """Return a function that opens a stream and reads its first bytes."""
    with ExitStack() as stack:

        def open_one(number: int = 0, version: str = "1.1") -> StreamReader:
            reader = StreamReader(worker.address, number, version)
            stack.callback(reader.close)
            assert (reader.read_chunk() if reader.is_chunked else reader.read_line()) == FIRST_BYTES
            return reader

        yield open_one
