"""The page of results: each row has its value, its limit and whether it meets the limit."""

from pathlib import Path

import pytest

from bench.aims import Limit, Row, Table
from bench.report import write_report
from bench.runner import GROUPS, run_groups


@pytest.mark.parametrize(
    ("limit", "value", "outcome"),
    [
        (Limit.at_most(1.2), 1.2, "yes"),
        (Limit.at_most(1.2), 1.21, "**no**"),
        (Limit.at_least(1.8), 1.8, "yes"),
        (Limit.at_least(1.8), 1.79, "**no**"),
        (Limit.at_most(1.2), float("nan"), "not measured"),
        (None, 1.0, ""),
    ],
)
def test_outcome_of_a_row(limit: Limit | None, value: float, outcome: str) -> None:
    assert Row("1", "one VM", value, "×", limit).outcome == outcome


def test_report_has_facts_rows_and_tables(tmp_path: Path) -> None:
    row = Row("7", "two workers", 1.85, "×", Limit.at_least(1.8), "one 600 µs")
    table = Table("Reads", ("read", "µs"), (("one VM", "1,250"),))
    write_report(tmp_path / "page.md", {"commit": "1234567"}, [row, table])
    page = (tmp_path / "page.md").read_text()
    assert "| commit | 1234567 |" in page
    assert "| 7 | two workers | 1.85 × | at least 1.80 × | yes | one 600 µs |" in page
    assert "## Reads\n\n| read | µs |\n| --- | --- |\n| one VM | 1,250 |\n" in page


def test_group_that_fails_has_a_row_without_a_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("no\nserver")

    monkeypatch.setattr("bench.runner.GROUPS", {**GROUPS, "reads": fail})
    (row,) = run_groups(["reads"], None)
    assert isinstance(row, Row)
    assert row.detail == "failed: RuntimeError: no server"
    write_report(tmp_path / "page.md", {}, [row])
    assert "|  | reads | – |  |  | failed" in (tmp_path / "page.md").read_text()
