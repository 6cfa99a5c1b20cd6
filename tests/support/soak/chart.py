"""The chart of a soak, as SVG: one curve below the other, faults as grey bars."""

from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import groupby

from tests.support.soak.samples import Sample

WIDTH, PANEL_HEIGHT, MARGIN, LABEL_WIDTH = 760, 74, 18, 60
CURVES: tuple[tuple[str, Callable[[Sample], float]], ...] = (
    ("memory of the oldest worker, MiB", lambda sample: sample.memory_mib),
    ("threads", lambda sample: sample.threads),
    ("file descriptors", lambda sample: sample.descriptors),
    ("connections", lambda sample: sample.connections),
    ("rows of the database", lambda sample: sample.rows),
    ("VMs requested", lambda sample: sample.vms),
    ("responses of a sample", lambda sample: sample.responses),
    ("median of reads, ms", lambda sample: sample.read_median_ms),
    ("99th percentile of reads, ms", lambda sample: sample.read_p99_ms),
    ("median of changes, ms", lambda sample: sample.change_median_ms),
)
STYLE = (
    "text{font:11px sans-serif;fill:#333}path{fill:none;stroke:#06c;stroke-width:1.2}"
    "rect{fill:#ddd}line{stroke:#bbb}"
)


def draw_chart(title: str, samples: Sequence[Sample]) -> str:
    """Return the SVG of all curves."""
    height = MARGIN * 2 + PANEL_HEIGHT * len(CURVES) + 16
    end = samples[-1].seconds or 1.0
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" style="fill:#fff"/>',
        f'<text x="4" y="14">{escape(title)}</text>',
        *_draw_faults(samples, end, height),
    ]
    for number, (name, read) in enumerate(CURVES):
        top = MARGIN + PANEL_HEIGHT * number
        parts += _draw_curve(name, [(item.seconds, read(item)) for item in samples], end, top)
    parts += _draw_minutes(end, height)
    return "\n".join([*parts, "</svg>", ""])


def _draw_curve(
    name: str, points: Sequence[tuple[float, float]], end: float, top: float
) -> Iterator[str]:
    highest = max(value for _, value in points) or 1.0
    base, room = top + PANEL_HEIGHT, PANEL_HEIGHT - 24
    path = " ".join(
        f"{_x(seconds, end):.1f},{base - room * value / highest:.1f}" for seconds, value in points
    )
    yield f'<text x="{LABEL_WIDTH}" y="{top + 18}">{escape(name)}</text>'
    yield f'<line x1="{LABEL_WIDTH}" x2="{WIDTH - MARGIN}" y1="{base}" y2="{base}"/>'
    for value, y in ((highest, base - room + 4), (0, base)):
        yield f'<text x="{LABEL_WIDTH - 4}" y="{y}" text-anchor="end">{value:.0f}</text>'
    yield f'<path d="M{path}"/>'


def _draw_faults(samples: Sequence[Sample], end: float, height: float) -> Iterator[str]:
    for fault, group in groupby(samples, key=lambda sample: sample.fault):
        if not fault:
            continue
        members = list(group)
        left, right = _x(members[0].seconds, end), _x(members[-1].seconds, end)
        bar = f'x="{left - 1:.1f}" y="{MARGIN}" width="{right - left + 2:.1f}"'
        yield f'<rect {bar} height="{height - MARGIN * 2}"><title>{escape(fault)}</title></rect>'


def _draw_minutes(end: float, height: float) -> Iterator[str]:
    anchors = {0: "start", 0.25: "middle", 0.5: "middle", 0.75: "middle", 1: "end"}
    for share, anchor in anchors.items():
        position, text = _x(end * share, end), f"{end * share / 60:.1f} min"
        yield f'<text x="{position:.1f}" y="{height - 6}" text-anchor="{anchor}">{text}</text>'


def _x(seconds: float, end: float) -> float:
    return LABEL_WIDTH + (WIDTH - MARGIN - LABEL_WIDTH) * seconds / end
