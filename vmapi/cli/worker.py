"""`worker`: run operations in a separate process."""

import click

from vmapi.cli.context import services, settings
from vmapi.engine.worker import run_celery_worker, run_worker
from vmapi.telemetry import logging


@click.command()
def worker() -> None:
    """Run operations in this process, until it is stopped.

    For VMAPI_ENGINE=worker or celery. Several workers share the operations.
    """
    logging.configure(settings().log_level, serves=True)
    operations, tasks = services().operations, services().periodic_tasks
    services().store.operations.renew_across_ticks()
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
