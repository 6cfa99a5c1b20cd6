"""Print records in the chosen format."""

import json
import sys
from collections.abc import Iterable
from typing import Any

from vmapi_client.cli.output.formats import (
    OutputFormat,
    fill_template,
    find_member,
    format_value,
)
from vmapi_client.cli.output.table import Column, View, print_table
from vmapi_client.models.model import Model

KEY_VALUE = (Column("MEMBER", "member"), Column("VALUE", "value"))


def print_records(
    records: Iterable[Model | dict[str, Any]], view: View, chosen: OutputFormat
) -> None:
    """Print a list of records to stdout."""
    documents = (record.to_json() if isinstance(record, Model) else record for record in records)
    if chosen.kind in ("table", "wide"):
        wide = chosen.kind == "wide"
        print_table(view.visible_columns(wide=wide), documents, fit_width=not wide)
    elif chosen.kind == "json":
        write_text(json.dumps(list(documents), indent=2, ensure_ascii=False))
    elif chosen.kind == "yaml":
        write_yaml(list(documents))
    else:
        for document in documents:
            write_text(format_line(document, view, chosen))


def print_record(record: Model, view: View, chosen: OutputFormat) -> None:
    """Print one record: all its members as a table, else as in a list of one."""
    document = record.to_json()
    if chosen.kind in ("table", "wide"):
        members = [{"member": name, "value": value} for name, value in document.items()]
        print_table(KEY_VALUE, members, fit_width=False)
    elif chosen.kind == "json":
        write_text(json.dumps(document, indent=2, ensure_ascii=False))
    elif chosen.kind == "yaml":
        write_yaml(document)
    else:
        write_text(format_line(document, view, chosen))


def format_line(document: Any, view: View, chosen: OutputFormat) -> str:
    """Return a record as one line."""
    if chosen.kind == "jsonl":
        return json.dumps(document, ensure_ascii=False)
    if chosen.kind == "name":
        return format_value(find_member(document, view.key))
    if chosen.kind == "columns":
        return "\t".join(format_value(find_member(document, path)) for path in chosen.columns)
    return fill_template(chosen.template, document)


def write_yaml(document: Any) -> None:
    """Print a document as YAML."""
    from vmapi_client.cli.output.yaml import format_yaml

    sys.stdout.write(format_yaml(document))


def write_text(text: str) -> None:
    """Print one line at once: readers of a pipe follow the stream."""
    print(text, flush=True)
