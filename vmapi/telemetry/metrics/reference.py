"""The reference page of the metrics, made from their declarations."""

from collections.abc import Iterator

from vmapi.telemetry.metrics.catalog import METRICS
from vmapi.telemetry.metrics.metric import Gauge, Histogram, Metric

INTRODUCTION = """\
# Metrics

gunicorn serves the metrics of all its processes at `VMAPI_METRICS_BIND`, and each worker its own at
`VMAPI_WORKER_METRICS_BIND`, under the path `/metrics`. [How to monitor](../how-to/monitor.md) has
the configuration of Prometheus, the alerts and the dashboard.

The scope of a metric:

- *server*: all processes of one gunicorn, or one worker. Add the values of several instances.
- *process*: the process with the highest or the lowest value in one gunicorn, or one worker.
- *database*: everything that shares the database. All instances report the same value: take the
  highest, do not add them.

The metrics of a histogram are NAME`_bucket`, NAME`_count` and NAME`_sum`. A series appears with its
first event. Counters begin at 0 when gunicorn or the worker starts; a new process of the same
gunicorn continues them.
"""


def metrics_reference() -> str:
    """Return the reference page of all metrics in Markdown."""
    header = "| Metric | Type | Labels | Scope | Meaning |\n|---|---|---|---|---|"
    return "\n".join([INTRODUCTION, header, *map(_row, METRICS), "", *_buckets()])


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.name}` | {metric.kind} | {labels} | {_scope(metric)} | {metric.help} |"


def _scope(metric: Metric) -> str:
    if not isinstance(metric, Gauge):
        return "server"
    if metric.is_of_database:
        return "database"
    return "server" if metric.mode == "livesum" else "process"


def _buckets() -> Iterator[str]:
    yield "## Buckets\n"
    yield "| Histogram | Upper bounds in seconds |\n|---|---|"
    for metric in METRICS:
        if isinstance(metric, Histogram):
            yield f"| `{metric.name}` | {', '.join(f'{bound:g}' for bound in metric.buckets)} |"
    yield ""
