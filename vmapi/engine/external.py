"""The engine when worker processes are it: `flask --app wsgi worker`."""


class ExternalEngine:
    """Leaves everything to the workers, which look for work themselves."""

    def notify(self, operation_id: str | None = None) -> None:
        """Do nothing: a worker finds what is unfinished within a sweep."""

    def stop(self) -> None:
        """Do nothing: nothing runs here."""
