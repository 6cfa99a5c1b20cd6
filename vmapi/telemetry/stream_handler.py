"""A log handler that also takes rendered lines."""

import logging


class LineStreamHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Writes records and rendered lines to a stream."""

    def write_line(self, line: str) -> None:
        """Write a line; an error of the stream is reported as for a record."""
        self.acquire()
        try:
            self.stream.write(line + self.terminator)
            self.stream.flush()
        except (OSError, ValueError):
            # ValueError: the stream is closed
            self.handleError(logging.makeLogRecord({"msg": line}))
        finally:
            self.release()
