"""The engine of a serving process with separate workers, which reconcile all operations."""


class ExternalEngine:
    """Notifies no one: the workers scan the database (VMAPI_ENGINE=worker)."""

    @property
    def queued_count(self) -> int:
        """Zero: this process sends no messages."""
        return 0

    def notify(self, operation_id: str | None = None) -> None:
        """Do nothing: the idle scan of a worker finds the operation."""

    def stop(self) -> None:
        """Do nothing: this process runs no engine."""
