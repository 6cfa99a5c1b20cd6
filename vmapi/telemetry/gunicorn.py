"""gunicorn's own messages in the same form as ours."""

import logging
from typing import Any

from gunicorn.glogging import Logger as GunicornLogger

from vmapi.settings import Settings
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
