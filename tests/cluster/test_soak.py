"""The short form of the soak: one minute of mixed load with faults, on a simulated Nova."""

from pathlib import Path

import pytest

from tests.support.soak.run import run_soak


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_nothing_leaks_and_nothing_is_lost(tmp_path: Path, database: str) -> None:
    result = run_soak(tmp_path, "simulated", database, minutes=1)
    print(f"{database}: {dict(result.report.responses)}, {result.events} events")
    assert len(set(result.faults)) >= 4, result.faults
    result.check_leaks()
