"""The gunicorn application of `vmapi serve`: gunicorn with the configuration of the package."""

from typing import Any

from gunicorn.app.base import Application
from gunicorn.util import import_app

WSGI_APP = "vmapi.wsgi:app"


class ServerApplication(Application):
    """gunicorn with vmapi. The options of the command line are those of gunicorn.

    The configuration of the package comes first. A file of the operator (`--config`), then
    `GUNICORN_CMD_ARGS`, then the command line replace single settings.
    """

    def init(self, parser: Any, opts: Any, args: Any) -> dict[str, Any]:
        """Return the configuration of the package."""
        # errors in the settings end the process here
        from vmapi.server import gunicorn_config

        declared = vars(gunicorn_config).items()
        packaged = {name: value for name, value in declared if name in self.cfg.settings}
        return {"default_proc_name": "vmapi", **packaged}

    def load(self) -> Any:
        """Return the app, in a worker."""
        return import_app(WSGI_APP)
