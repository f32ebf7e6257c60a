"""The figures of a run, as a table for people and as JSON for machines."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement; `bar` says what we ask of it, such as "≥ 4", and `met` whether it holds."""

    name: str
    value: float
    unit: str
    meaning: str
    bar: str = ""
    met: bool | None = None


def at_least(name: str, value: float, bar: float, meaning: str, unit: str = "ratio") -> Figure:
    return Figure(name, value, unit, meaning, f"≥ {bar:g}", value >= bar)


def at_most(name: str, value: float, bar: float, meaning: str, unit: str) -> Figure:
    return Figure(name, value, unit, meaning, f"≤ {bar:g}", value <= bar)


def write(figures: Sequence[Figure], file: Path) -> None:
    """`{name: {value, unit, …}}`."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {it.name: {key: value for key, value in asdict(it).items() if key != "name"} for it in figures}
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def show(figures: Sequence[Figure], console: Console) -> None:
    table = Table(title="make bench", title_justify="left")
    for heading, justify in (("figure", "left"), ("value", "right"), ("unit", "left"), ("bar", "left")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    table.add_column("what it is")
    for it in figures:
        colour = {True: "green", False: "red", None: ""}[it.met]
        value = f"{it.value:,.0f}" if it.value >= 100 else f"{it.value:,.2f}"
        table.add_row(it.name, f"[{colour}]{value}[/]" if colour else value, it.unit, it.bar, it.meaning)
    console.print(table)
