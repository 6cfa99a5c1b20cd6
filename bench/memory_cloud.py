"""vmapi on a memory cloud that has BENCH_VMS VMs: `gunicorn … bench.memory_cloud:app`."""

import os

from bench.populated_backend import build_backend
from vmapi.app import create_app
from vmapi.settings.settings import Settings

settings = Settings.load()
backend = build_backend(settings.memory_limits, int(os.environ.get("BENCH_VMS", "0")))
app = create_app(settings, backend)
