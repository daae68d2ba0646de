"""What pydantic found, in words that say what to write instead."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sim.scenario.errors import Path, Problem, dotted
from sim.scenario.source import Source

_PLAIN = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "union_tag_not_found": "needs to say {discriminator}",
    "too_short": "is empty: it needs at least {min_length}",
    "too_long": "has {actual_length} items: at most {max_length}",
    "string_too_long": "is too long: at most {max_length} characters",
    "string_unicode": "is not UTF-8 text",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
}


def explain(
    error: ValidationError, data: object, shapes: Mapping[int, type], source: Source
) -> list[Problem]:
    """One problem for each mistake in `data`; `shapes` has the model that each mapping was read as, by id."""
    found = [_problem(details, data, shapes, source) for details in error.errors()]
    return list(dict.fromkeys(found))


def _problem(details: ErrorDetails, data: object, shapes: Mapping[int, type], source: Source) -> Problem:
    path, parent = _real_path(details["loc"], data)
    kind = details["type"]
    if kind == "missing":
        missing = str(details["loc"][-1])
        return Problem(source.where(path), dotted((*path, missing)), "is missing")
    if kind == "extra_forbidden":
        return Problem(source.where(path), dotted(path), _unknown_key(str(path[-1]), parent, shapes))
    return Problem(source.where(path), dotted(path), text_of(details))


def _real_path(loc: Path, data: object) -> tuple[Path, object]:
    """The part of pydantic's location that exists in the file, and the value around its end.

    The rest are names of models, and keys that a short form leaves out.
    """
    path: Path = ()
    parent = data
    for step in loc:
        in_list = isinstance(data, list) and isinstance(step, int) and step < len(data)
        if in_list or (isinstance(data, Mapping) and step in data):
            parent, data, path = data, _item(data, step), (*path, step)
    return path, parent


def _item(data: object, step: str | int) -> object:
    return data[step]  # type: ignore[index]


def _unknown_key(key: str, parent: object, shapes: Mapping[int, type]) -> str:
    shape = shapes.get(id(parent))
    if shape is None or not issubclass(shape, BaseModel):
        return "unknown key"
    known = [field.alias or name for name, field in shape.model_fields.items()]
    return f"unknown key; {_suggest(key, known)}"


def _suggest(word: str, known: Iterable[str]) -> str:
    names = list(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean `{close[0]}`?" if close else f"known are {', '.join(names)}"


def text_of(details: ErrorDetails) -> str:
    """What is wrong with one value, as a sentence for its line."""
    kind, context, given = details["type"], details.get("ctx", {}), details["input"]
    if kind == "value_error":
        return str(context["error"])
    if kind in {"literal_error", "union_tag_invalid"}:
        return _choice(context, given)
    if kind == "string_pattern_mismatch":
        return _pattern(str(context["pattern"]), given)
    if kind in {"greater_than", "greater_than_equal", "less_than", "less_than_equal"}:
        return f"{given} is out of range: {_PLAIN[kind].format(**context)}"
    if kind in _PLAIN:
        return _PLAIN[kind].format(**context)
    return details["msg"]


def _choice(context: Mapping[str, object], given: object) -> str:
    names = re.findall(r"'([^']*)'", str(context.get("expected_tags") or context["expected"]))
    word = context.get("tag", given)
    close = difflib.get_close_matches(str(word), names, n=1)
    hint = f"; did you mean `{close[0]}`?" if close else ""
    return f"{word!r} is not one of {', '.join(names)}{hint}"


def _pattern(pattern: str, given: object) -> str:
    if pattern.startswith("^[A-Za-z0-9_]") and ":" in pattern and "|" not in pattern:
        return f"{given!r} is not a node and its interface: write node:interface"
    return f"{given!r} is no name: use letters, digits, _ and -"
