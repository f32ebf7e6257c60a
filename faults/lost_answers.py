"""Lost answers: the connection is cut around COMMIT, so that whoever committed is not told whether it took effect.

Every command has to take effect once, be answered with success all the same, and give the same answer, byte by byte, when it is sent
again. The stock recorder, which simply tries again, takes its own commit for somebody else's.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from uuid import UUID

from eventsourcing.persistence import IntegrityError
from google.protobuf.message import Message

from chassis.clock import SystemClock
from chassis.commands import CommandBus
from chassis.context import Call, Context, entered
from chassis.event_store import PostgresEventStore
from deploy.local.postgres import Postgres
from faults import stock
from faults.cutting_proxy import Cut, CuttingProxy
from faults.journal import Finding, Journal
from faults.meters import HANDLERS, TENANT, Advance, count, meter_id, numbers
from faults.verdict import Control, Scale, Verdict
from faults.workplace import postgres, with_chassis

COMMANDS: Final = {Scale.FULL: 2_000, Scale.SMALL: 120}
CALLERS: Final = 4
METERS: Final = 16
CUT_COMMITS: Final = 0.5
KINDS: Final = (Cut.AFTER, Cut.AFTER, Cut.DURING, Cut.BEFORE)


@dataclass(slots=True)
class Dice:
    """Decides about every COMMIT; can be told to leave the wire alone."""

    dice: random.Random
    is_quiet: bool = False

    def __call__(self) -> Cut:
        if self.is_quiet or self.dice.random() >= CUT_COMMITS:
            return Cut.NOT
        return self.dice.choice(KINDS)


async def carry_out(bus: CommandBus, journal: Journal, commands: int) -> list[str]:
    """Send `commands` from several callers at once; what was refused, and why."""
    waiting = iter(range(commands))
    refused: list[str] = []

    async def caller() -> None:
        for number in waiting:
            command = Advance(meter_id(number % METERS), number)
            entry = journal.asked("command", str(number), command, _request_id(number))
            try:
                journal.acknowledged(entry, await send(bus, command, entry.about))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the wrong answer
                refused.append(f"command {number} was answered with {error!r}")

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return refused


async def send(bus: CommandBus, command: Advance, request_id: str) -> bytes:
    """The answer as it goes over the wire."""
    fingerprint = sha256(repr(command).encode()).digest()
    context = Context(TENANT, "caller", call=Call("faults/Advance", request_id, fingerprint))
    with entered(context):
        answer: Message = await bus.execute(command, reply=count)
    return answer.SerializeToString(deterministic=True)


async def send_again(bus: CommandBus, journal: Journal) -> int:
    """How many answers differ from the first."""
    differing = 0
    for it in journal.acknowledged_of("command"):
        differing += await send(bus, it.request, it.about) != it.answer
    return differing


def run(scale: Scale) -> Verdict:
    journal = Journal()
    with postgres("lost_answers") as server:
        with_chassis(server, "answers")
        with _proxied(server, "answers") as (dsn, proxy, dice):
            refused, differing = asyncio.run(_scenario(dsn, journal, COMMANDS[scale], dice))
        finding = judge(server.dsn("answers"), journal)
        control = _control(server)
    finding.problems += refused[:10]
    finding.require_equal("the number of answers that differ when asked again", differing, 0)
    cuts = ", ".join(f"{proxy.cuts[it]} {it}" for it in (Cut.AFTER, Cut.DURING, Cut.BEFORE))
    return Verdict(
        fault="lost_answers",
        done=f"{COMMANDS[scale]:,} commands, connections cut: {cuts}",
        acknowledged=len(journal.acknowledged_of("command")),
        lost=len(finding.lost),
        doubled=len(finding.doubled),
        control=control,
        problems=finding.problems,
        figures={"false conflicts": len(refused), "answers that differ when asked again": differing},
    )


def judge(dsn: str, journal: Journal) -> Finding:
    """Compare with the log, read past the proxy."""
    store = PostgresEventStore(dsn)
    try:
        return journal.compare("command", map(str, numbers(store)))
    finally:
        store.close()


async def _scenario(dsn: str, journal: Journal, commands: int, dice: Dice) -> tuple[list[str], int]:
    store = PostgresEventStore(dsn)
    bus = CommandBus(store, SystemClock(), HANDLERS)
    bus.start()
    try:
        refused = await carry_out(bus, journal, commands)
        dice.is_quiet = True
        return refused, await send_again(bus, journal)
    finally:
        bus.stop()
        store.close()


def _control(server: Postgres) -> Control:
    """Twenty appends through the stock recorder, each with its COMMIT done and its answer cut off."""
    server.create_database("stock_answers")
    outcomes: Counter[str] = Counter()
    appended = 20
    with stock.recorder(server.dsn("stock_answers", "scrm_owner")):
        pass  # its tables are there
    decided = iter([])  # type: Iterator[Cut]
    with CuttingProxy(server.port, lambda: next(decided, Cut.NOT)) as proxy:
        dsn = _through(proxy, server.dsn("stock_answers", "scrm_owner"), server.port)
        with stock.recorder(dsn) as recorder:
            for number in range(appended):
                decided = iter([Cut.AFTER])
                try:
                    stock.append(recorder, [stock.event(number, 1, number)])
                    outcomes["success"] += 1
                except IntegrityError:
                    outcomes["conflict"] += 1
            stored = len(recorder.select_notifications(1, appended + 1))
    found = f"{outcomes['conflict']} of {stored} commits of its own were reported as IntegrityError"
    return Control("the stock recorder", found, outcomes["conflict"] > 0 and stored == appended)


@contextmanager
def _proxied(server: Postgres, name: str) -> Iterator[tuple[str, CuttingProxy, Dice]]:
    dice = Dice(random.Random(5))  # noqa: S311 - repeatable
    with CuttingProxy(server.port, dice) as proxy:
        yield _through(proxy, server.dsn(name), server.port), proxy, dice


def _through(proxy: CuttingProxy, dsn: str, port: int) -> str:
    return dsn.replace(f":{port}/", f":{proxy.port}/")


def _request_id(number: int) -> str:
    return str(UUID(int=number + 1))
