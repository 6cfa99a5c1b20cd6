"""GraphQL mutations while two server processes and an engine worker are killed."""

from pathlib import Path

import pytest

from tests.support.graphql_kill_test import open_graphql
from tests.support.kill_test import KillPlan, check_report, run_kill_test

pytestmark = pytest.mark.disruption


def test_each_mutation_is_carried_out_once_while_processes_are_killed(tmp_path: Path) -> None:
    plan = KillPlan(creates=4, kill_interval=(0.5, 2.0), engine_workers=1, max_kills=3)
    report = run_kill_test(plan, tmp_path, open_graphql)
    check_report(report)
    assert report.kills > 0
