"""The kill test of the Python library, in its short form."""

from pathlib import Path

from tests.support.client_kill_test import open_library
from tests.support.kill_test import KillPlan, check_report, run_kill_test


def test_each_create_makes_one_server_while_processes_are_killed(tmp_path: Path) -> None:
    report = run_kill_test(KillPlan(creates=8, kill_interval=(1.0, 3.0)), tmp_path, open_library)
    check_report(report)
    assert report.kills > 0
    assert report.lost_responses > 0
