"""The limit of open files: each connection of a client takes one."""

import resource
import sys
from contextlib import suppress

MAX_CONNECTIONS = 1000
"""Connections of a process besides its event streams, as gunicorn's default."""

RESERVED_FILES = 64
"""Files of a process besides those of requests: the log, listeners, the database, modules."""

FILES_PER_THREAD = 8
"""Connections to the cloud and to databases, files and pipes of one request."""


def raise_limit() -> int:
    """Raise the soft limit to the hard limit; return the number of files that may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS refuses a hard limit without a number
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return sys.maxsize if soft == resource.RLIM_INFINITY else soft


def fit_connections(max_files: int, threads: int, streams: int) -> int:
    """Return the number of connections that leave files for the requests themselves.

    At least half of the files are for connections.
    """
    spare_files = max_files - RESERVED_FILES - FILES_PER_THREAD * threads
    return min(MAX_CONNECTIONS + streams, max(spare_files, max_files // 2))


def max_streams(connections: int) -> int:
    """Return the number of event streams that leave connections for other requests.

    At most half of few connections are streams.
    """
    return max(connections - MAX_CONNECTIONS, connections // 2)
