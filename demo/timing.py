"""How long the job takes: wall-clock time by phase and processor time by process."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psutil


class Stopwatch:
    """Seconds by phase, in the order of the phases."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._begin = time.perf_counter()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begin

    @property
    def total(self) -> float:
        return time.perf_counter() - self._begin


def processor_seconds(processes: Mapping[str, int]) -> dict[str, float]:
    """Seconds of processor time so far: "demo" for this process, and by name those of others with all their children."""
    others = {name: round(_seconds(psutil.Process(pid)), 1) for name, pid in processes.items()}
    return {"demo": round(time.process_time(), 1), **others}


def _seconds(process: psutil.Process) -> float:
    used = _own_and_ended(process)
    for child in process.children(recursive=True):
        try:
            used += _own_and_ended(child)
        except psutil.NoSuchProcess:
            continue
    return used


def _own_and_ended(process: psutil.Process) -> float:
    times: Any = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)
