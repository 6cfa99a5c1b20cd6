"""Interpreters of the parsing rules of log collectors, for the statements of our files.

Semantics: "loki.process" of Grafana Alloy, the Vector Remap Language, the ingest processors of
Elasticsearch. A statement beyond these raises an error, so that no rule is ignored.
"""

import json
import re
from datetime import datetime
from typing import Any

Json = dict[str, Any]


def run_alloy(config: str, line: str, labels: dict[str, str]) -> Json:
    """Run the stages of `loki.process` on a line; return time, labels and metadata."""
    process = config[config.index('loki.process "') : config.index('loki.write "')]
    extracted: Json = {}
    result: Json = {"timestamp": None, "labels": dict(labels), "metadata": {}}
    for stage, body in re.findall(r"stage\.(\w+) \{\n(.*?)\n  \}", process, re.S):
        names = re.findall(r'(\w+) = ""', body)
        options = dict(re.findall(r'(\w+) += "(\w+)"', body))
        values = {name: str(extracted[name]) for name in names if extracted.get(name) is not None}
        if stage == "json":
            extracted = _parse_object(line)
            extracted = {name: extracted[name] for name in names if name in extracted}
        elif stage == "timestamp" and options["format"] == "RFC3339Nano":
            if options["source"] in extracted:
                result["timestamp"] = datetime.fromisoformat(extracted[options["source"]])
        elif stage in ("labels", "structured_metadata"):
            result["labels" if stage == "labels" else "metadata"].update(values)
        else:
            raise NotImplementedError(stage)
    return result


def _parse_object(line: str) -> Json:
    try:
        parsed = json.loads(line)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def run_vrl(source: str, event: Json) -> Json:
    """Run assignments of VRL on an event; an error returns the event unchanged."""
    scope: dict[str, Json] = {"": dict(event)}
    for statement in source.strip().splitlines():
        target, expression = statement.split(" = ", 1)
        try:
            value = _evaluate_vrl(expression, scope)
        except ValueError:
            return event
        variable, _, member = target.partition(".")
        if member:
            scope[variable][member] = value
        else:
            scope["" if target == "." else variable] = value
    return scope[""]


def _evaluate_vrl(expression: str, scope: dict[str, Json]) -> Any:
    if match := re.fullmatch(r"object!\((.*)\)", expression):
        value = _evaluate_vrl(match[1], scope)
        if not isinstance(value, dict):
            raise ValueError(expression)
        return value
    if match := re.fullmatch(r"parse_json!\((.*)\)", expression):
        return json.loads(_evaluate_vrl(match[1], scope))
    if match := re.fullmatch(r'parse_timestamp!\((.*), format: "%\+"\)', expression):
        return datetime.fromisoformat(_evaluate_vrl(match[1], scope))
    if match := re.fullmatch(r'"(\w+)"', expression):
        return match[1]
    if match := re.fullmatch(r"(\w*)\.(\w+)", expression):
        return scope[match[1]].get(match[2])
    if re.fullmatch(r"\w+", expression):
        return scope[expression]
    raise NotImplementedError(expression)


def run_ingest_pipeline(pipeline: Json, document: Json) -> Json:
    """Run the processors of an ingest pipeline on a document with flat names of fields."""
    result = dict(document)
    for processor in pipeline["processors"]:
        ((name, options),) = processor.items()
        condition = options.get("if")
        if condition is not None and condition != "ctx.vmapi != null":
            raise NotImplementedError(condition)
        if condition and not any(field.startswith("vmapi.") for field in result):
            continue
        INGEST_PROCESSORS[name](result, options)
    return result


def _run_json(document: Json, options: Json) -> None:
    parsed = _parse_object(document[options["field"]])
    for field, value in parsed.items():
        document[f"{options['target_field']}.{field}"] = value
    if not parsed:
        for processor in options["on_failure"]:
            _run_set(document, processor["set"])


def _run_date(document: Json, options: Json) -> None:
    if options["formats"] != ["ISO8601"]:
        raise NotImplementedError(options["formats"])
    document[options["target_field"]] = datetime.fromisoformat(document[options["field"]])


def _run_set(document: Json, options: Json) -> None:
    copied = options.get("copy_from")
    document[options["field"]] = document[copied] if copied else options["value"]


def _run_remove(document: Json, options: Json) -> None:
    for field in options["field"]:
        document.pop(field, None)


def _run_rename(document: Json, options: Json) -> None:
    if options["field"] in document:
        document[options["target_field"]] = document.pop(options["field"])


INGEST_PROCESSORS = {
    "json": _run_json,
    "date": _run_date,
    "set": _run_set,
    "remove": _run_remove,
    "rename": _run_rename,
}
