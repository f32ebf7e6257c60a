"""A table of the report and how figures are written in it."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sheet:
    """A titled table; `note` says what to think of it. Columns after the first are figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def count(number: int) -> str:
    return f"{number:,}"


def money(amount: float) -> str:
    return f"{amount:,.2f}"


def percent(share: float | None, places: int = 1) -> str:
    return "–" if share is None else f"{share * 100:.{places}f}"


def points(difference: float) -> str:
    return f"{difference * 100:+.2f}"
