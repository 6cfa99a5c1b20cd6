"""`worker`: run operations in a separate process."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import click

from vmapi.cli.context import reporting_errors, services, settings
from vmapi.engine.worker import run_celery_worker, run_worker
from vmapi.telemetry import logging
from vmapi.telemetry.tracing.exporting import exporting
from vmapi.telemetry.uncaught import log_uncaught_errors


@click.command()
def worker() -> None:
    """Run operations in this process, until it is stopped.

    For VMAPI_ENGINE=worker or celery. Several workers share the operations.
    """
    logging.configure(settings().log_level, serves=True)
    log_uncaught_errors()
    services().store.operations.renew_across_ticks()
    # before the metrics: their first scrape opens the database, which installs the spans of SQL
    with reporting_errors(), exporting(), _serving_metrics():
        _run()


def _run() -> None:
    operations, tasks = services().operations, services().periodic_tasks
    try:
        if settings().engine == "worker":
            run_worker(operations, tasks)
        elif settings().engine == "celery":
            run_celery_worker(operations, tasks, settings().broker_url)
        else:
            raise click.ClickException(
                "VMAPI_ENGINE=thread: the serving processes run operations themselves"
            )
    finally:
        services().store.close()


@contextmanager
def _serving_metrics() -> Iterator[None]:
    """Serve the metrics of this process while the block lasts, if the settings say so."""
    bind = settings().worker_metrics_bind
    if bind is None:
        yield
        return
    # loads prometheus_client
    from vmapi.services.process_metrics import ProcessMetrics
    from vmapi.services.state_metrics import DatabaseMetrics, build_samples
    from vmapi.telemetry.metrics.exporter import MetricsExporter, open_listener
    from vmapi.telemetry.metrics.registry import MetricRegistry
    from vmapi.telemetry.metrics.sampler import MetricSampler

    with reporting_errors():
        listener = open_listener(bind, "VMAPI_WORKER_METRICS_BIND")
    registry = MetricRegistry()
    registry.add_source(DatabaseMetrics(services().store).collect)
    registry.add_source(partial(build_samples, settings(), "worker"))
    sampler = MetricSampler(ProcessMetrics(services().store, services().engine).collect)
    sampler.start()
    exporter = MetricsExporter(listener, registry)
    exporter.start()
    try:
        yield
    finally:
        sampler.stop()
        exporter.stop()
