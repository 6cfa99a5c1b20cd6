"""Which store the settings ask for."""

from collections.abc import Callable
from datetime import datetime

from vmapi.settings import Settings
from vmapi.store.operations import OperationStore

DEFAULT = "sqlite:///instance/vmapi.sqlite3"


def open_store(
    settings: Settings, clock: Callable[[], datetime], *, durable: bool
) -> OperationStore:
    """Return the store: a database where operations are to outlive the process, else memory.

    SQLAlchemy is loaded only for a database.
    """
    url = settings.database_url or (DEFAULT if durable else None)
    if url is None:
        from vmapi.store.memory import MemoryOperations

        return MemoryOperations(clock)
    from vmapi.store import schema
    from vmapi.store.database import Database
    from vmapi.store.sql import SqlOperations

    return SqlOperations(Database(url, settings.threads, schema.prepare), clock)
