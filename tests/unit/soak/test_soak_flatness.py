"""The checks of the soak: growth is found, a flat curve passes, the chart is XML."""

from dataclasses import replace
from xml.etree import ElementTree

import pytest

from tests.support.soak.chart import CURVES, draw_chart
from tests.support.soak.flatness import find_growth, find_leaks
from tests.support.soak.samples import Sample

SAMPLES = [
    Sample(
        seconds=10.0 * number,
        fault="Nova is <slow>" if number % 6 == 5 else "",
        memory_mib=100.0,
        threads=40,
        descriptors=60,
        connections=20,
        rows=30 * number,
        vms=number,
        responses=100,
        read_median_ms=3.0,
        read_p99_ms=9.0,
        change_median_ms=500.0,
    )
    for number in range(60)
]


def test_flat_curves_pass() -> None:
    assert find_growth(SAMPLES) == {}


RESOURCES = {
    "memory_mib": "memory of the oldest worker, MiB",
    "threads": "threads",
    "descriptors": "file descriptors",
    "connections": "connections",
}
CURVES_OF_LONG_RUNS = {"read_median_ms": "median of reads, ms", "rows": "rows of a VM"}


@pytest.mark.parametrize(("member", "name"), (RESOURCES | CURVES_OF_LONG_RUNS).items())
def test_growth_is_found(member: str, name: str) -> None:
    growing = [
        replace(sample, **{member: getattr(sample, member) + number**2 // 8})
        for number, sample in enumerate(SAMPLES)
    ]
    assert list(find_growth(growing)) == [name]


@pytest.mark.parametrize(("member", "name"), RESOURCES.items())
def test_leak_is_found_in_a_short_run(member: str, name: str) -> None:
    leaking = [
        replace(sample, **{member: getattr(sample, member) + 6 * number})
        for number, sample in enumerate(SAMPLES[:24])
    ]
    assert list(find_leaks(leaking)) == [name]


def test_latency_and_rows_of_a_short_run_are_no_leak() -> None:
    assert find_leaks([replace(s, read_median_ms=s.seconds, rows=s.vms**2) for s in SAMPLES]) == {}


def test_faults_do_not_count() -> None:
    slow = [replace(s, read_median_ms=900.0) if s.fault else s for s in SAMPLES]
    assert find_growth(slow) == {}


def test_chart_has_all_curves() -> None:
    root = ElementTree.fromstring(draw_chart("60 minutes & more", SAMPLES))
    names = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert names >= {name for name, _ in CURVES} | {"60 minutes & more", "0.0 min", "9.8 min"}
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) == len(CURVES)
