"""The gunicorn logger: gunicorn's messages as log lines of vmapi, without texts of clients."""

import logging
from typing import Any

from gunicorn.glogging import Logger

from vmapi.domain.access.api_token import hide_tokens
from vmapi.settings.settings import Settings
from vmapi.telemetry.logging import configure


class GunicornLogger(Logger):
    """A gunicorn logger that writes through the root logger, from LOG_LEVEL on."""

    def setup(self, cfg: Any) -> None:
        """Replace the handlers of gunicorn by those of vmapi."""
        super().setup(cfg)
        configure(Settings.load().log_level)
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.setLevel(logging.NOTSET)
            logger.propagate = True

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Log the class of an exception without its text, which quotes the request."""
        safe_args = (type(arg).__name__ if isinstance(arg, Exception) else arg for arg in args)
        super().debug(msg, *safe_args, **kwargs)

    def atoms(self, resp: Any, req: Any, environ: Any, request_time: Any) -> Any:
        """Return the fields of an access log, for an operator that configures one.

        Leaves out queries, referrers and headers: they may hold tokens.
        """
        atoms = super().atoms(resp, req, environ, request_time)
        safe = {name: value for name, value in atoms.items() if name[-2:] not in ("}i", "}e")}
        path = hide_tokens(environ["PATH_INFO"])
        request_line = (environ["REQUEST_METHOD"], path, environ["SERVER_PROTOCOL"])
        return {**safe, "r": " ".join(request_line), "q": "", "f": "-", "u": "-"}
