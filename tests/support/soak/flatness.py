"""The proof of a flat curve: the last quarter of the samples against the first."""

from collections.abc import Callable, Sequence
from statistics import median

from tests.support.soak.samples import Sample

WARM_UP_SHARE = 0.1
"""The share of the samples before the caches of a new process are full."""

LIMITS: dict[str, tuple[Callable[[Sample], float], float, float]] = {
    "memory of the oldest worker, MiB": (lambda sample: sample.memory_mib, 1.1, 12.0),
    "threads": (lambda sample: sample.threads, 1.0, 4.0),
    "file descriptors": (lambda sample: sample.descriptors, 1.0, 12.0),
    "connections": (lambda sample: sample.connections, 1.0, 12.0),
    "median of reads, ms": (lambda sample: sample.read_median_ms, 1.5, 10.0),
}
"""The greatest factor and the greatest addition from the first quarter to the last."""

MAX_ROWS_FACTOR = 1.25
"""The greatest factor of the rows that one VM costs."""


def find_growth(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Return the curves that are not flat, with the median of the first and the last quarter."""
    warm = samples[round(len(samples) * WARM_UP_SHARE) :]
    quiet = [sample for sample in warm if not sample.fault and sample.responses]
    first, last = split_quarters(quiet)
    growth = {}
    for name, (read, factor, addition) in LIMITS.items():
        before, after = median(map(read, first)), median(map(read, last))
        if after > before * factor + addition:
            growth[name] = (before, after)
    before, after = (rows_per_vm(quarter) for quarter in split_quarters(warm))
    if after > before * MAX_ROWS_FACTOR:
        growth["rows of a VM"] = (before, after)
    return growth


def split_quarters(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """Return the first and the last quarter."""
    size = max(2, len(samples) // 4)
    return samples[:size], samples[-size:]


def rows_per_vm(samples: Sequence[Sample]) -> float:
    """Return the new rows of each new VM."""
    vms = samples[-1].vms - samples[0].vms
    return (samples[-1].rows - samples[0].rows) / max(1, vms)
