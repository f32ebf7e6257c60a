"""What a watcher sees while the story is replayed: how much is told, how fast, and how long the rest will take."""

from collections.abc import Mapping
from datetime import date
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

_WORDS: Final[Mapping[str, str]] = {"touches": "touchpoints", "logins": "logins", "orders": "orders"}


class Board:
    """Progress bars on a terminal; elsewhere a line per month. Used in a with statement."""

    def __init__(self, console: Console, days: int, size: Mapping[str, int]) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<11}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks = {kind: self._progress.add_task(_WORDS[kind], total=total) for kind, total in size.items()}
        self._days = self._progress.add_task("days", total=days)
        self._month = ""
        self.told = dict.fromkeys(size, 0)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, day: date) -> None:
        """The services are told of `day` now."""
        self._progress.update(self._days, description=f"{day:%d %b %Y}", advance=1)
        month = f"{day:%B %Y}"
        if month != self._month and not self._console.is_terminal:
            self._console.print(
                f"{month}: {', '.join(f'{done:,} {_WORDS[kind]}' for kind, done in self.told.items())} so far"
            )
        self._month = month

    def advance(self, kind: str, count: int) -> None:
        """`count` more of `kind` are with the services."""
        self.told[kind] += count
        self._progress.advance(self._tasks[kind], count)


class _Rate(ProgressColumn):
    """How many a second, since the beginning."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text(f"{rate:>8,.0f}/s" if rate else "       –/s", style="cyan")
