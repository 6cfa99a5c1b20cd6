"""Names of VMs from brace expressions, as bash makes them: `web-{1..3}`, `{a,b}`."""

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice, product, zip_longest

import click

BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
MAX_NAMES = 1000
SHOWN_NAME_CHARACTERS = 60


def expand_names(texts: Iterable[str]) -> list[str]:
    """Return the distinct names of several texts. Raises UsageError for too many."""
    expanded = chain.from_iterable(map(expand_braces, texts))
    names = list(islice(expanded, MAX_NAMES + 1))
    if len(names) > MAX_NAMES:
        raise click.UsageError(f"There are more than {MAX_NAMES} names.")
    return list(dict.fromkeys(names))


def expand_braces(text: str) -> Iterator[str]:
    """Yield the names of a text. Raises UsageError for too many, and for malformed braces."""
    literals, parts = BRACES.split(text)[::2], BRACES.findall(text)
    shown = repr(text[:SHOWN_NAME_CHARACTERS])
    if any(brace in literal for literal in literals for brace in "{}"):
        raise click.UsageError(
            f"{shown} has nested braces, or one without its pair: use web-{{1..3}} or {{a,b}}."
        )
    groups: list[list[str]] = []
    count = 1
    for part in parts:
        groups.append(_expand_part(part))
        # counted before all groups are in memory
        count *= len(groups[-1])
        if count > MAX_NAMES:
            raise click.UsageError(f"{shown} has more than {MAX_NAMES} names.")
    for chosen in product(*groups):
        pairs = zip_longest(literals, chosen, fillvalue="")
        yield "".join(chain.from_iterable(pairs))


def _expand_part(part: str) -> list[str]:
    limits = RANGE.fullmatch(part)
    if limits is None:
        if not part or ".." in part:
            raise click.UsageError(f"{{{part}}} is no range: use {{1..3}} or {{a,b}}.")
        return part.split(",")
    first, last = int(limits[1]), int(limits[2])
    if abs(last - first) >= MAX_NAMES:
        raise click.UsageError(f"{{{part}}} has more than {MAX_NAMES} names.")
    padded = (len(limit) for limit in limits.groups() if limit.startswith("0"))
    width = max(padded, default=1)
    step = 1 if first <= last else -1
    return [f"{number:0{width}}" for number in range(first, last + step, step)]
