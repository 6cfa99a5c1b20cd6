"""A gunicorn worker that profiles its main thread, and writes the profile to BENCH_PROFILE."""

import cProfile
import os

from vmapi.server.worker import GunicornWorker


class ProfiledWorker(GunicornWorker):
    """The worker of vmapi under a profiler."""

    def run(self) -> None:
        """Serve requests until the worker stops, then write the profile."""
        profiler = cProfile.Profile()
        try:
            profiler.runcall(super().run)
        finally:
            profiler.dump_stats(os.environ["BENCH_PROFILE"])
