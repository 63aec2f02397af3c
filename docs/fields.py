"""A model's fields as rows of a table: type, unit, bounds, default and meaning, read from its JSON Schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

_FORMATS = {"uuid": "UUID", "date-time": "time (RFC 3339)", "path": "path", "password": "secret"}


@dataclass(frozen=True)
class FieldRow:
    """What is said of one field, as Markdown. `default`: "required" where there is none."""

    name: str
    type: str
    unit: str
    bounds: str
    default: str
    meaning: str

    def cells(self) -> str:
        """The row of a table."""
        cells = (f"`{self.name}`", self.type, self.unit, self.bounds, self.default, self.meaning)
        return f"| {' | '.join(' '.join(cell.split()).replace('|', BAR) for cell in cells)} |"


BAR = "\\|"  # a bar ends a cell, even within code
HEAD = "| field | type | unit | bounds | default | meaning |\n| --- | --- | --- | --- | --- | --- |"


def field_rows(schema: Schema, definitions: Mapping[str, Schema]) -> Iterator[FieldRow]:
    """A row for every property of an object's schema; `definitions` are what it refers to."""
    required = schema.get("required", ())
    for name, found in schema["properties"].items():
        yield FieldRow(
            name,
            type_of(found),
            ", ".join(_each(found, _unit)),
            "; ".join(_each(found, _bounds)),
            "required" if name in required else _default(found),
            found.get("description") or first_sentence(definitions[_target(found)]),
        )


def table(schema: Schema, definitions: Mapping[str, Schema]) -> str:
    """The table of an object's properties."""
    return "\n".join([HEAD, *(row.cells() for row in field_rows(schema, definitions))])


def first_sentence(schema: Schema) -> str:
    """The first line of what a model's docstring says."""
    return str(schema.get("description", "")).split("\n")[0]


def values(schema: Schema) -> str:
    """The values of an enumeration."""
    return ", ".join(f"`{value}`" for value in schema["enum"])


def type_of(schema: Schema) -> str:
    """The type in words; a named one is a link to where it is described."""
    if "$ref" in schema:
        name = _target(schema)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_inner(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    match schema.get("type"):
        case "array":
            return f"list of {_inner(schema['items'])}"
        case "object" if isinstance(schema.get("additionalProperties"), dict):
            keys = {"type": "string", **schema.get("propertyNames", {})}
            return f"map of {type_of(keys)} to {_inner(schema['additionalProperties'])}"
        case "string":
            return _FORMATS.get(schema.get("format", ""), "string")
        case None:
            return "any"
        case kind:
            return str(kind)


def _inner(schema: Schema) -> str:
    """A type within another, in brackets where it has several words."""
    words = type_of(schema)
    return f"({words})" if " or " in words or " of " in words else words


def without_null(schema: Schema) -> Schema:
    """The schema of a setting: one that may be absent has no null, and no default."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) != 1:
        return schema
    return {**choices[0], **{key: value for key, value in schema.items() if key != "anyOf"}}


def _target(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _each(schema: Schema, look: Callable[[Schema], str]) -> list[str]:
    """What `look` finds in a type and in the types it is made of, each once; of a map's keys, marked as theirs."""
    found = [text] if (text := look(schema)) else []
    found += [f"keys: {text}"] if (text := look(schema.get("propertyNames", {}))) else []
    for part in (*schema.get("anyOf", ()), schema.get("items"), schema.get("additionalProperties")):
        if isinstance(part, dict):
            found += _each(part, look)
    return list(dict.fromkeys(found))


def _unit(schema: Schema) -> str:
    return str(schema.get("x-unit", ""))


def _bounds(schema: Schema) -> str:
    """Bounds that are checked, in words; those that are only stated, in italics."""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    checked = (
        f"{low} or more" if low is not None else "",
        f"{high} or less" if high is not None else "",
        f"above {above}" if above is not None else "",
        f"below {below}" if below is not None else "",
    )
    said = [words for words in checked if words]
    if stated := schema.get("x-bounds"):
        said.append(f"*{stated}*")
    return ", ".join(said)


def _default(schema: Schema) -> str:
    """The default in JSON, strings without their quotes."""
    if "default" not in schema:
        return "see meaning"
    if schema["default"] is None and "anyOf" not in schema:
        return "none"
    if "$ref" in schema and isinstance(schema["default"], dict):
        return "its fields' defaults"
    default = schema["default"]
    return f"`{default if isinstance(default, str) else json.dumps(default, ensure_ascii=False)}`"
