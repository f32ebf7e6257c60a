"""Statements for whole batches: arrays in, rows out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from chassis.postgres import columns, driver_cursor, pipeline

Row = tuple[Any, ...]
Question = Sequence[Any]


def fetch(rows: sa.Connection, statement: str, *parameters: Any) -> list[Row]:
    """What a query finds; its parameters are %s."""
    with driver_cursor(rows) as cursor:
        cursor.execute(statement.encode(), parameters)
        return cursor.fetchall()


def fetch_together(rows: sa.Connection, questions: Iterable[Question]) -> list[list[Row]]:
    """What several queries find, which travel together; each is a statement with its parameters."""
    with pipeline(rows):
        asked = [(driver_cursor(rows), statement, parameters) for statement, *parameters in questions]
        for cursor, statement, parameters in asked:
            cursor.execute(statement.encode(), parameters)
    return [cursor.fetchall() for cursor, *_ in asked]


def fetch_binary(rows: sa.Connection, statement: str, *parameters: Any) -> list[Row]:
    """What a query finds that is mostly bytes: they are not written out as text on the way."""
    with driver_cursor(rows) as cursor:
        cursor.execute(statement.encode(), parameters, binary=True)
        return cursor.fetchall()


def fetch_named(rows: sa.Connection, statement: str, parameters: Mapping[str, Any]) -> list[Row]:
    """What a query finds; its parameters are %(name)s."""
    with driver_cursor(rows) as cursor:
        cursor.execute(statement.encode(), parameters)
        return cursor.fetchall()


def run(rows: sa.Connection, statement: str, *parameters: Any) -> int:
    """Carry out one statement; how many rows it changed."""
    with driver_cursor(rows) as cursor:
        cursor.execute(statement.encode(), parameters)
        return cursor.rowcount


def run_all(rows: sa.Connection, statement: str, tenant: str, items: Sequence[Row]) -> None:
    """One statement for all `items`: its parameters are the tenant and one array per column. Nothing for no items."""
    if items:
        run(rows, statement, tenant, *columns(items))


def copy(rows: sa.Connection, target: str, items: Iterable[Row]) -> None:
    """COPY `items` into `target`, a table with its columns in parentheses."""
    with driver_cursor(rows) as cursor, cursor.copy(f"COPY {target} FROM STDIN".encode()) as sink:
        for item in items:
            sink.write_row(item)
