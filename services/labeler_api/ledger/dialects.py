"""What PostgreSQL and SQLite say each in its own way: ON CONFLICT, and many values as one parameter.

Statements that every event runs are built once, at import: building one takes longer than running it. For the same
reason they take many values as one parameter, an array or a JSON list: a statement with a parameter for each would be
another one for every number of them, to be compiled here and prepared on every connection.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


def per_dialect(build: Callable[[Callable[[sa.Table], Any]], Any]) -> dict[str, sa.Executable]:
    """An insert with ON CONFLICT, which each dialect has of its own, by the dialect's name."""
    return {"postgresql": build(postgresql.insert), "sqlite": build(sqlite.insert)}


def among(column: sa.ColumnElement[Any], parameter: str) -> sa.ColumnElement[bool]:
    """Whether a column's value is one of those that the parameter lists: integers, texts or UUIDs."""
    return _Among(column, sa.bindparam(parameter, type_=_Many(column.type)))


def each(parameter: str, type_: sa.types.TypeEngine[Any]) -> sa.ColumnElement[Any]:
    """A column to select from: a row for each value that the parameter lists."""
    values = _Each(sa.bindparam(parameter, type_=_Many(type_)))
    # Named alike: PostgreSQL names the one column as the table, SQLite calls it `value`.
    column: sa.ColumnElement[Any] = values.table_valued(sa.column("value", type_), name="value").c.value
    return column


def joined(column: sa.ColumnElement[bytes]) -> sa.ColumnElement[bytes]:
    """The bytes of all rows in one piece, in any order: a driver takes longer for many rows than for many bytes."""
    return _Joined(column)


class _Many(sa.types.TypeDecorator[Collection[Any]]):
    """Values of one type: an array in PostgreSQL, a JSON list in SQLite."""

    impl = sa.Text
    cache_ok = True

    def __init__(self, item: sa.types.TypeEngine[Any]) -> None:
        super().__init__()
        self.item = item

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        many = postgresql.ARRAY(self.item) if dialect.name == "postgresql" else sa.Text()
        return dialect.type_descriptor(many)

    def process_bind_param(self, value: Collection[Any] | None, dialect: sa.Dialect) -> Any:
        if dialect.name == "postgresql" or value is None:
            return None if value is None else list(value)
        return json.dumps([each.hex if isinstance(each, UUID) else each for each in value])  # as the column keeps it


class _Piece(sa.types.TypeDecorator[bytes]):
    """Bytes, which SQLite joins as hexadecimal digits; none where there was no row."""

    impl = sa.LargeBinary
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        return dialect.type_descriptor(sa.LargeBinary() if dialect.name == "postgresql" else sa.Text())

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> bytes:
        return bytes.fromhex(value) if isinstance(value, str) else value or b""


class _Among(FunctionElement[bool]):
    name = "among"
    type = sa.Boolean()
    inherit_cache = True


class _Each(FunctionElement[Any]):
    name = "each"
    inherit_cache = True


class _Joined(FunctionElement[bytes]):
    name = "joined"
    type = _Piece()
    inherit_cache = True


@compiles(_Joined, "postgresql")
def _joined_bytes(element: _Joined, compiler: SQLCompiler, **options: Any) -> str:
    return f"string_agg({compiler.process(element.clauses, **options)}, ''::bytea)"


@compiles(_Joined, "sqlite")
def _joined_digits(element: _Joined, compiler: SQLCompiler, **options: Any) -> str:
    return f"group_concat(hex({compiler.process(element.clauses, **options)}), '')"


@compiles(_Among, "postgresql")
def _among_in_array(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = ANY ({values})"


@compiles(_Among, "sqlite")
def _among_in_json(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN (SELECT value FROM json_each({values}))"


@compiles(_Each, "postgresql")
def _each_in_array(element: _Each, compiler: SQLCompiler, **options: Any) -> str:
    return f"unnest({compiler.process(element.clauses, **options)})"


@compiles(_Each, "sqlite")
def _each_in_json(element: _Each, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"
