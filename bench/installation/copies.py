"""Fill the tables with copies of the rows that vmapi has written for one VM."""

from collections.abc import Mapping

from sqlalchemy import Engine, text

from vmapi.store.tables import metadata

NEW_ID = "gen_random_uuid()::text"
EARLIER = "{column} - number::bigint * 1000000"
COPIES: Mapping[str, Mapping[str, str]] = {
    "vms": {
        "id": NEW_ID,
        "name": "'copy-' || number",
        "project": "'project-' || number % 1000",
        "operation_id": "NULL",
        "created_at": EARLIER,
        "updated_at": EARLIER,
    },
    "operations": {
        "id": NEW_ID,
        "vm_id": NEW_ID,
        "project": "'project-' || number % 1000",
        "idempotency_key": "'copy-' || number",
        "created_at": EARLIER,
        "started_at": EARLIER,
        "finished_at": EARLIER,
    },
    "audit_entries": {
        "id": "nextval(pg_get_serial_sequence('audit_entries', 'id'))",
        "at": EARLIER,
        "project": "'project-' || number % 1000",
        "vm_id": NEW_ID,
        "operation_id": NEW_ID,
        "chain_position": "NULL",
    },
}
"""The columns with other values than the first row."""


def copy_rows(engine: Engine, table: str, number: int) -> None:
    """Insert copies of one row of a table, and collect its statistics."""
    changed = COPIES[table]
    columns = [f'"{column.name}"' for column in metadata.tables[table].columns]
    values = [
        changed.get(column.strip('"'), column).format(column=f"first.{column}")
        for column in columns
    ]
    values = [f"first.{value}" if value in columns else value for value in values]
    statement = (
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "
        f"FROM (SELECT * FROM {table} LIMIT 1) AS first, generate_series(1, {number}) AS number"
    )
    with engine.begin() as connection:
        connection.execute(text(statement))
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"VACUUM ANALYZE {table}"))
