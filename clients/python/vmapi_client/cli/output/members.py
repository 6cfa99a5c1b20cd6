"""The members that `--output` can name."""

import types
from collections.abc import Mapping, Sequence
from typing import Any, Union, get_args, get_origin, get_type_hints

from vmapi_client.models.model import Model, members_of


def refuse_path(path: str, model: type[Model]) -> str | None:
    """Return why a dotted path names no member, with the members that exist; else None."""
    member: Any = model
    parents: list[str] = []
    for name in path.split("."):
        if is_mapping(member):
            return None
        if not is_model(member):
            return f"{path!r} is no member: {'.'.join(parents)} has no members."
        members = read_member_types(member)
        if name not in members:
            return describe_refusal(path, [describe(*item, parents) for item in members.items()])
        member = members[name]
        parents.append(name)
    return None


def describe_refusal(path: str, names: Sequence[str]) -> str:
    """Return a sentence with the members that exist."""
    return f"{path!r} is no member: use {', '.join(names)}."


def describe(name: str, member: Any, parents: Sequence[str]) -> str:
    """Return a member as a path; a placeholder stands for the names below it."""
    rest = "KEY" if is_mapping(member) else "MEMBER" if is_model(member) else ""
    return ".".join(filter(None, (*parents, name, rest)))


def read_member_types(model: type[Model]) -> dict[str, Any]:
    """Return the members of a model with their types, without None."""
    hints = get_type_hints(model)
    return {name: without_none(hints[name]) for name in members_of(model).readers}


def without_none(hint: Any) -> Any:
    """Return the type of an optional member."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(part for part in get_args(hint) if part is not type(None))
    return hint


def is_mapping(hint: Any) -> bool:
    """Return whether a member has keys that clients choose."""
    return get_origin(hint) is Mapping


def is_model(hint: Any) -> bool:
    """Return whether a member is an object of vmapi."""
    return isinstance(hint, type) and issubclass(hint, Model)
