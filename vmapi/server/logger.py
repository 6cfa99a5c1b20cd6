"""gunicorn's own messages in the same form as ours, and as silent about what clients send."""

import logging
from typing import Any

from gunicorn.glogging import Logger as GunicornLogger

from vmapi.settings.settings import Settings
from vmapi.telemetry.logging import configure


class Logger(GunicornLogger):
    """Hands everything to the root logger, from LOG_LEVEL on."""

    def setup(self, cfg: Any) -> None:
        """Replace gunicorn's handlers by ours."""
        super().setup(cfg)
        configure(Settings.load().log_level)
        for logger in (self.error_log, self.access_log):
            logger.handlers.clear()
            logger.setLevel(logging.NOTSET)
            logger.propagate = True

    def debug(self, msg: Any, *args: Any, **kwargs: Any) -> None:
        """Name an exception, without its text: gunicorn's own quote what a client sent."""
        named = (type(arg).__name__ if isinstance(arg, Exception) else arg for arg in args)
        super().debug(msg, *named, **kwargs)

    def atoms(self, resp: Any, req: Any, environ: Any, request_time: Any) -> Any:
        """Return what an access log may show, where somebody asks gunicorn for one.

        Queries, the page that referred and all other headers may hold tokens.
        """
        known = super().atoms(resp, req, environ, request_time)
        shown = {name: value for name, value in known.items() if name[-2:] not in ("}i", "}e")}
        words = (environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["SERVER_PROTOCOL"])
        return {**shown, "r": " ".join(words), "q": "", "f": "-", "u": "-"}
