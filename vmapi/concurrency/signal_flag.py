"""A flag for handlers of signals."""


class SignalFlag:
    """A flag that a signal handler may set.

    A handler can interrupt itself: `threading.Event.set` would wait for a lock that its own thread
    holds.
    """

    def __init__(self) -> None:
        self._is_set = False

    def set(self) -> None:
        """Set the flag."""
        self._is_set = True

    def is_set(self) -> bool:
        """Return whether the flag is set."""
        return self._is_set
