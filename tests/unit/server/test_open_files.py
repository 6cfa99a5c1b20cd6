"""The number of connections that fits the limit of open files."""

import pytest

from vmapi.server.open_files import fit_connections, max_streams


@pytest.mark.parametrize(
    ("max_files", "threads", "connections"),
    [
        (1_048_576, 8, 1500),
        (1024, 8, 896),
        (256, 8, 128),
        # half of the files, if the threads would need more
        (1024, 256, 512),
        (64, 2, 32),
    ],
)
def test_connections_leave_files_for_requests(
    max_files: int, threads: int, connections: int
) -> None:
    assert fit_connections(max_files, threads, streams=500) == connections


@pytest.mark.parametrize(
    ("connections", "streams"), [(6000, 5000), (2000, 1000), (1200, 600), (896, 448), (32, 16)]
)
def test_streams_leave_connections_for_other_clients(connections: int, streams: int) -> None:
    assert max_streams(connections) == streams
