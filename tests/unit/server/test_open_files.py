"""The number of connections that fits the limit of open files."""

import pytest

from vmapi.server.open_files import fit_connections


@pytest.mark.parametrize(
    ("max_files", "threads", "connections"),
    [
        (1_048_576, 8, 1000),
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
    assert fit_connections(max_files, threads) == connections
