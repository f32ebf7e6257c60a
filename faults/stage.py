"""A running stack with traffic on it, and what can be done to its parts while somebody watches how soon they are back."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from uuid import uuid4

import psutil

from deploy.local.stack import LocalStack
from faults.caller import Caller
from faults.journal import Finding, Journal
from faults.traffic import Brand, Traffic
from faults.workplace import KEPT, workplace


@dataclass(frozen=True, slots=True)
class Stage:
    """All that a fault on the whole system needs."""

    stack: LocalStack
    journal: Journal
    caller: Caller
    brand: Brand
    traffic: Traffic
    dice: random.Random

    def probe(self, name: str) -> None:
        """Return once the part `name` does its work again: services take a command, the broker carries an event across."""
        probes = self._probes()
        if name == "postgres":
            for it in probes.values():
                it()
        else:
            probes[name]()

    def crossing(self) -> float:
        """Seconds from the acknowledgement of something new in identity until membership knows of it."""
        customer = self.brand.recognized(f"p:{uuid4()}", eager=True)
        started = perf_counter()
        self.brand.wait_until_noticed(customer)
        return perf_counter() - started

    def kill_and_restart(self, name: str) -> "Recovery":
        """SIGKILL a part and start it at once, as a supervisor would."""
        self.stack.kill(name)
        self.stack.component(name).child.start()
        started = perf_counter()
        self.probe(name)
        seconds = perf_counter() - started
        used = psutil.Process(self.stack.pid(name)).cpu_times()
        return Recovery(name, seconds, used.user + used.system)

    def _probes(self) -> Mapping[str, Callable[[], object]]:
        brand = self.brand
        known: dict[str, Callable[[], object]] = {
            "identity": lambda: brand.visit(eager=True),
            "tracking": lambda: brand.track(self.dice, eager=True, most=1),
            "tagging": lambda: brand.settings(eager=True),
            "membership": lambda: brand.grant(self.dice, eager=True),
        }
        probes = {name: it for name, it in known.items() if name in self.stack.services}
        if "membership" in self.stack.services:
            probes["nats"] = self.crossing
        return probes

    def findings(self) -> Finding:
        """What callers were told while it went on and should not have been."""
        return Finding(problems=self.traffic.failures[:10])


@dataclass(frozen=True, slots=True)
class Recovery:
    """Seconds from the start of a part until it did its work again, and those of the processor that it needed for that."""

    name: str
    seconds: float
    cpu_seconds: float


@contextmanager
def opened(
    fault: str, services: Sequence[str], prepare: Callable[[LocalStack], None] = lambda stack: None
) -> Iterator[Stage]:
    """A stack with `services` whose people are known and whose traffic has not begun yet; `prepare` sees it before it starts."""
    with workplace(fault) as folder:
        stack = LocalStack(folder, services)
        prepare(stack)
        with stack, played(fault, stack, Caller(stack)) as stage:
            yield stage


@contextmanager
def played(fault: str, stack: LocalStack, caller: Caller) -> Iterator[Stage]:
    """The stage on a stack that serves, for a caller who is closed in the end."""
    journal = Journal()
    brand = Brand(caller, journal)
    traffic = Traffic(brand)
    try:
        brand.prepare()
        yield Stage(stack, journal, caller, brand, traffic, random.Random(1))  # noqa: S311 - repeatable
    finally:
        traffic.finish()
        caller.close()
        journal.write(KEPT / fault / "journal.jsonl")
