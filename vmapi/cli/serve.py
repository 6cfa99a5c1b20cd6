"""`serve`: run gunicorn with the configuration of the package."""

import os

import click


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("-b", "--bind", help="HOST:PORT or unix:/PATH, in place of VMAPI_BIND")
@click.option("-w", "--workers", help="number of processes, in place of VMAPI_WORKERS")
@click.option("-c", "--config", help="Python file that replaces settings of gunicorn")
@click.argument("gunicorn_options", nargs=-1, type=click.UNPROCESSED)
def serve(bind: str | None, workers: str | None, **_: object) -> None:
    """Serve the API with gunicorn, until it is stopped.

    GUNICORN_OPTIONS are further options of gunicorn, as `--graceful-timeout 60`.
    """
    # the settings know the address: other defaults apply on loopback
    settings = {"VMAPI_BIND": bind, "VMAPI_WORKERS": workers}
    os.environ.update({name: text for name, text in settings.items() if text is not None})
    # gunicorn is loaded only where it serves
    from vmapi.server.application import ServerApplication

    # gunicorn parses the command line, also when it replaces the process (SIGUSR2)
    ServerApplication("%(prog)s [OPTIONS]", prog="vmapi serve").run()
