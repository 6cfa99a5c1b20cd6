"""Run the rivals with the bodies of vmapi."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from bench.environments import ensure_twin_environment
from bench.options import RunOptions
from bench.processes import ROOT
from bench.servers import Server, free_port, run_server

FLOOR_THREADS = "8"


@contextmanager
def run_floor(options: RunOptions, bodies: Mapping[str, bytes]) -> Iterator[Server]:
    """Run bare Flask on gunicorn with threads; each body has its name as the path."""
    port, folder = free_port(), write_bodies(options, bodies)
    arguments = ("-k", "gthread", "-w", "1", "--threads", FLOOR_THREADS, "-b", f"127.0.0.1:{port}")
    command = (sys.executable, "-m", "gunicorn", *arguments, "bench.rivals.floor:app")
    probe_path = f"/{next(iter(bodies))}"
    with run_server(options, port, command, probe_path, {"RIVAL_FOLDER": folder}) as server:
        yield server


@contextmanager
def run_twin(options: RunOptions, bodies: Mapping[str, bytes]) -> Iterator[Server]:
    """Run the FastAPI twin on uvicorn."""
    port, folder = free_port(), write_bodies(options, bodies)
    uvicorn = str(ensure_twin_environment() / "uvicorn")
    arguments = ("--app-dir", str(ROOT / "bench/rivals"), "--no-access-log", "--port", str(port))
    command = (uvicorn, *arguments, "twin:app")
    with run_server(options, port, command, "/vms?page_size=1", {"RIVAL_FOLDER": folder}) as server:
        yield server


def write_bodies(options: RunOptions, bodies: Mapping[str, bytes]) -> str:
    """Write each body to a file; return the folder."""
    folder = options.folder / "bodies"
    folder.mkdir(exist_ok=True)
    for name, body in bodies.items():
        (folder / name).write_bytes(body)
    return str(folder)
