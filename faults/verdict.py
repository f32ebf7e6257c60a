"""What one fault did and what became of it, as a table for people and as JSON for machines."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

from rich.console import Console
from rich.table import Table


class Scale(StrEnum):
    """How much of a fault: `full` for `make faults`, `small` for the tests."""

    FULL = "full"
    SMALL = "small"


@dataclass(frozen=True, slots=True)
class Control:
    """The negative control: the same fault and the same judge on something that is known to be wrong."""

    what: str
    found: str
    fails: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`worst` is the worst of what is timed, in `unit`, and may be no more than `bar`; `slow` are other bars of time that were missed.

    `problems` are other ways to be wrong.
    """

    fault: str
    done: str
    acknowledged: int
    lost: int
    doubled: int
    worst: float | None = None
    bar: float = 0.0
    unit: str = "s"
    control: Control
    problems: Sequence[str] = ()
    slow: Sequence[str] = ()
    figures: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Nothing is lost, doubled or otherwise wrong, and the negative control is caught."""
        return self.lost == 0 and self.doubled == 0 and not self.problems and self.control.fails

    @property
    def is_in_time(self) -> bool:
        return not self.slow and (self.worst is None or self.worst <= self.bar)

    @property
    def passed(self) -> bool:
        return self.is_right and self.is_in_time


def write(verdicts: Sequence[Verdict], scale: Scale, file: Path) -> None:
    """`{scale, passed, load_average, faults: {name: {…}}}`; times say something only where nobody else used the machine."""
    file.parent.mkdir(parents=True, exist_ok=True)
    faults = {it.fault: {**asdict(it), "passed": it.passed} for it in verdicts}
    content = {
        "scale": scale,
        "passed": all(it.passed for it in verdicts),
        "load_average": os.getloadavg()[2],
        "faults": faults,
    }
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def show(verdicts: Sequence[Verdict], console: Console) -> None:
    """One row per fault, and below what was measured besides and what went wrong."""
    table = Table(title="make faults", title_justify="left")
    for heading in ("fault", "what was done"):
        table.add_column(heading)
    for heading in ("acknowledged", "lost", "doubled", "worst"):
        table.add_column(heading, justify="right")
    for heading in ("bar", "negative control", "passed"):
        table.add_column(heading)
    for it in verdicts:
        table.add_row(*_row(it))
    console.print(table)
    for it in verdicts:
        if it.figures:
            console.print(f"{it.fault}: " + ", ".join(f"{name} {_number(value)}" for name, value in it.figures.items()))
        for problem in (*it.problems, *it.slow):
            console.print(f"[red]{it.fault}: {problem}")


def _row(verdict: Verdict) -> list[str]:
    it, control = verdict, verdict.control
    timed = it.worst is not None
    return [
        it.fault,
        it.done,
        f"{it.acknowledged:,}",
        _judged(str(it.lost), it.lost == 0),
        _judged(str(it.doubled), it.doubled == 0),
        _judged(f"{_number(it.worst or 0)} {it.unit}", it.is_in_time) if timed else "–",
        f"≤ {it.bar:g} {it.unit}" if timed else "–",
        _judged(f"{control.what}: {control.found}; " + ("fails as it should" if control.fails else "NOT CAUGHT"), control.fails),
        _judged("yes" if it.passed else "NO", it.passed),
    ]  # fmt: skip


def _judged(text: str, is_good: bool) -> str:
    return f"[{'green' if is_good else 'red'}]{text}[/]"


def _number(value: float | str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:,.2f}"
