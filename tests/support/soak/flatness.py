"""The proof of a flat curve: the last quarter of the samples against the first."""

from collections.abc import Callable, Mapping, Sequence
from statistics import median

from tests.support.soak.samples import Sample

Read = Callable[[Sample], float]

WARM_UP_SHARE = 0.1
"""The share of the samples before the caches of a new process are full."""

CURVES: Mapping[str, Read] = {
    "memory of the oldest worker, MiB": lambda sample: sample.memory_mib,
    "threads": lambda sample: sample.threads,
    "file descriptors": lambda sample: sample.descriptors,
    "connections": lambda sample: sample.connections,
    "median of reads, ms": lambda sample: sample.read_median_ms,
}

LIMITS: Mapping[str, tuple[float, float]] = {
    "memory of the oldest worker, MiB": (1.1, 12.0),
    "threads": (1.0, 4.0),
    "file descriptors": (1.0, 12.0),
    "connections": (1.0, 12.0),
    "median of reads, ms": (1.5, 10.0),
}
"""The greatest factor and the greatest addition from the first quarter to the last."""

LEAK_LIMITS: Mapping[str, tuple[float, float]] = {
    "memory of the oldest worker, MiB": (1.3, 12.0),
    "threads": (1.0, 20.0),
    "file descriptors": (1.0, 60.0),
    "connections": (1.0, 60.0),
}
"""As `LIMITS`, for a run of minutes: pools grow to their full size, a leak grows with each request.

A minute has some thousand requests, and few VMs: latencies and rows of a VM depend on the machine.
"""

MAX_ROWS_FACTOR = 1.25
"""The greatest factor of the rows that one VM costs."""


def find_growth(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Return the curves that are not flat, with the median of the first and the last quarter."""
    growth = _compare_quarters(samples, LIMITS)
    before, after = (rows_per_vm(quarter) for quarter in split_quarters(_warm(samples)))
    if after > before * MAX_ROWS_FACTOR:
        growth["rows of a VM"] = (before, after)
    return growth


def find_leaks(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Return the resources that grow as with a leak, with the medians of `find_growth`."""
    return _compare_quarters(samples, LEAK_LIMITS)


def _compare_quarters(
    samples: Sequence[Sample], limits: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    quiet = [sample for sample in _warm(samples) if not sample.fault and sample.responses]
    first, last = split_quarters(quiet)
    growth = {}
    for name, (factor, addition) in limits.items():
        before, after = (median(map(CURVES[name], quarter)) for quarter in (first, last))
        if after > before * factor + addition:
            growth[name] = (before, after)
    return growth


def _warm(samples: Sequence[Sample]) -> Sequence[Sample]:
    return samples[round(len(samples) * WARM_UP_SHARE) :]


def split_quarters(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Return the first and the last quarter."""
    size = max(2, len(samples) // 4)
    return samples[:size], samples[-size:]


def rows_per_vm(samples: Sequence[Sample]) -> float:
    """Return the new rows of each new VM."""
    vms = samples[-1].vms - samples[0].vms
    return (samples[-1].rows - samples[0].rows) / max(1, vms)
