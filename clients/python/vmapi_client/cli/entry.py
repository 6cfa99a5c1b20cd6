"""The entry point of vmctl. It imports little, so that Ctrl-C finds its handler early."""

import os
import sys


def main() -> None:
    """Run vmctl with the arguments of the process."""
    try:
        from vmapi_client.cli.interrupts import end_process_on_interrupt

        end_process_on_interrupt()
    except KeyboardInterrupt:
        os._exit(130)
    try:
        import click  # noqa: F401
    except ImportError:
        sys.exit("vmctl needs click and rich: run pip install 'vmapi-client[cli]'.")
    # httpx would import its own command line, and with it rich and pygments
    sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
    from vmapi_client.cli.run import run_program

    sys.exit(run_program())
