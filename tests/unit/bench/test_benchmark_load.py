"""The load generator of the benchmarks: its output, its signals, its failures."""

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.load import count_requests, parse_output, run_wrk

OUTPUT = """Running 1m test @ http://127.0.0.1:8000/livez
  1 threads and 8 connections
  Latency Distribution
     50%  850.00us
     75%    1.20ms
     99%    1.02s
  1250 requests in 500.00ms, 1.00MB read
Requests/sec:   2500.00
"""
BUSY_WRK = """
import signal, time
time.sleep(0.4)
stops = []
signal.signal(signal.SIGINT, lambda *_: stops.append(1))
while not stops:
    time.sleep(0.01)
print("stopped")
"""


@pytest.fixture(autouse=True)
def _ignored_interrupts() -> Iterator[None]:
    """Let new processes ignore SIGINT until they change that, as wrk does."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, handler)


def run_script(tmp_path: Path, script: str) -> str:
    (tmp_path / "wrk.py").write_text(script)
    return run_wrk([sys.executable, str(tmp_path / "wrk.py")], 0.1)


def test_output_of_wrk_is_read_with_its_units() -> None:
    load = parse_output(OUTPUT, cpu_seconds=0.0004)
    assert (load.cpu_us, load.rate, load.median_ms, load.p99_ms) == (400.0, 2500.0, 0.85, 1020.0)
    assert count_requests(OUTPUT) == 1250


@pytest.mark.parametrize(
    "line", ["Non-2xx or 3xx responses: 7", "Socket errors: connect 0, read 3, write 0, timeout 0"]
)
def test_failed_requests_are_an_error(line: str) -> None:
    with pytest.raises(RuntimeError, match="requests failed"):
        count_requests(OUTPUT + line)


def test_wrk_that_ignores_the_first_signal_is_stopped(tmp_path: Path) -> None:
    assert run_script(tmp_path, BUSY_WRK) == "stopped\n"


def test_wrk_that_the_signal_kills_has_sent_no_request(tmp_path: Path) -> None:
    script = "import signal, time\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\ntime.sleep(60)"
    assert count_requests(run_script(tmp_path, script)) == 0


def test_wrk_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="failed: 3"):
        run_script(tmp_path, "import sys; sys.exit(3)")
