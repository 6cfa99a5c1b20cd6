"""The shares of the middleware hooks and of the packages in a profile."""

import sysconfig
from collections import defaultdict
from pathlib import Path
from pstats import Stats
from typing import Any

from bench.processes import ROOT
from vmapi.api.middleware import AFTER_REQUEST, BEFORE_REQUEST

SITE_PACKAGES = Path(sysconfig.get_path("purelib"))
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))
WAIT = "'poll' of 'select."
"""A part of the name of the function that waits for requests."""
MIN_SHARE = 0.01


def render_hooks(stats: Stats) -> str:
    """Return the cumulative share of each middleware hook."""
    total, times = get_total(stats), get_times(stats)
    shares = {}
    for hook in (*BEFORE_REQUEST, *AFTER_REQUEST):
        code = hook.__code__
        key = (code.co_filename, code.co_firstlineno, code.co_name)
        cumulative = times[key][3] if key in times else 0.0
        shares[f"{Path(code.co_filename).stem}.{code.co_name}"] = cumulative / total
    return render_shares("middleware hook", {**shares, "all hooks": sum(shares.values())})


def render_packages(stats: Stats) -> str:
    """Return the share of each package: the own time of its functions."""
    total = get_total(stats)
    shares: defaultdict[str, float] = defaultdict(float)
    for (file, _, _), values in get_times(stats).items():
        shares[find_package(file)] += values[2] / total
    large = {name: share for name, share in shares.items() if share >= MIN_SHARE}
    ordered = sorted(large.items(), key=lambda item: item[1], reverse=True)
    return render_shares("package (own time)", dict(ordered))


def get_total(stats: Stats) -> float:
    """Return the time of all functions in seconds, without waits for requests."""
    return float(sum(values[2] for values in get_times(stats).values()))


def get_times(stats: Stats) -> dict[tuple[str, int, str], Any]:
    """Return calls and times by file, line and name of a function, without waits for requests."""
    functions = stats.stats  # type: ignore[attr-defined]
    return {key: values for key, values in functions.items() if WAIT not in key[2]}


def find_package(file: str) -> str:
    """Return the package of vmapi, or the library, that a file belongs to."""
    path = Path(file)
    if path.is_relative_to(ROOT / "vmapi"):
        return ".".join(path.relative_to(ROOT).parent.parts)
    if path.is_relative_to(SITE_PACKAGES):
        return path.relative_to(SITE_PACKAGES).parts[0].removesuffix(".py")
    if path.is_relative_to(STANDARD_LIBRARY):
        return "standard library"
    # "~" is the file of functions written in C
    return "functions in C" if file == "~" else file


def render_shares(title: str, shares: dict[str, float]) -> str:
    """Return a table with percentages."""
    width = max(map(len, [title, *shares]))
    lines = [f"{title:<{width}}  share"]
    return "\n".join(lines + [f"{name:<{width}}  {share:5.1%}" for name, share in shares.items()])
