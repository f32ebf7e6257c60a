"""The smallest whole service, for tests of the runner: cups of tea, counted, told to the world and heard from it.

Run as a program it is a process like any other: `python -m tests.chassis.echo_service <role>…`.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from google.protobuf.message import Message

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from chassis.commands import Handlers, UnitOfWork, handler
from chassis.consumer import Incoming, Subscription
from chassis.due_times import Timer
from chassis.errors import FailedPrecondition
from chassis.kit import Kit
from chassis.log import Recorded
from chassis.program import run
from chassis.service import Service
from chassis.settings import ChassisSettings
from tests.chassis import echo_contract as echo


class TeapotEmpty(FailedPrecondition):
    """There is nothing left to pour."""


class Teapot(Aggregate):
    """A pot that everybody of one name shares."""

    TOPIC = "echo.Teapot"

    class Filled(InitialEvent):
        TOPIC = "echo.TeapotFilled"
        tenant: str
        name: str
        filled_at: datetime

    class Poured(Event):
        TOPIC = "echo.TeaPoured"
        name: str

    class Tasted(Event):
        TOPIC = "echo.TeaTasted"
        sip: str

    @event(Filled)
    def __init__(self, id: UUID, tenant: str, name: str, filled_at: datetime) -> None:
        self.tenant = tenant
        self.name = name
        self.cups = 0

    @event(Poured)
    def pour(self, name: str) -> None:
        self.cups += 1

    @event(Tasted)
    def taste(self, sip: str) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Pour:
    name: str
    limit: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Taste:
    name: str
    sip: str


def pot(name: str, work: UnitOfWork) -> Teapot:
    pot_id = natural_id(work.context.tenant, "teapot", name)
    found = work.find(Teapot, pot_id)
    if found is None:
        found = Teapot(pot_id, work.context.tenant, name, work.now)
        work.add(found)
    return found


def pour(command: Pour, work: UnitOfWork) -> Teapot:
    teapot = pot(command.name, work)
    if teapot.cups >= command.limit:
        raise TeapotEmpty
    teapot.pour(command.name)
    work.schedule(Timer("taste", command.name, work.now + timedelta(days=1), {}))
    return teapot


def taste(command: Taste, work: UnitOfWork) -> None:
    pot(command.name, work).taste(command.sip)


HANDLERS: Handlers = [handler(Pour, pour), handler(Taste, taste)]


def publish(recorded: Recorded) -> Message | None:
    match recorded.event:
        case Teapot.Poured(name=name):
            message: Message = echo.SayResponse(text=name)
            return message
    return None


def partition_key(recorded: Recorded) -> UUID:
    return recorded.event.originator_id


def taste_what_was_poured(incoming: Incoming) -> Sequence[Any]:
    return [Taste(incoming.parse(echo.SayResponse).text, incoming.id)]


class Cups:
    """How many cups were poured from each pot."""

    name = "cups"
    version = 1
    source = "events"
    tables = sa.MetaData()
    cups = sa.Table(
        "cups",
        tables,
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("cups", sa.Integer, nullable=False),
    )

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        poured = [(it.tenant, it.event.name) for it in items if isinstance(it.event, Teapot.Poured)]
        for tenant, name in poured:
            rows.execute(
                sa.text(
                    "INSERT INTO cups VALUES (:tenant, :name, 1) ON CONFLICT (tenant, name) DO UPDATE SET cups = cups.cups + 1"
                ),
                {"tenant": tenant, "name": name},
            )


class EchoServicer:
    def __init__(self, kit: Kit) -> None:
        self._kit = kit

    async def Say(self, request: Any, context: Any) -> Any:
        return await self._kit.bus.execute(
            Pour(request.name, request.count or 1_000_000), reply=lambda teapot: echo.SayResponse(text=str(teapot.cups))
        )

    async def ListSayings(self, request: Any, context: Any) -> Any:
        def read(rows: sa.Connection) -> list[str]:
            return [f"{it.name} {it.cups}" for it in rows.execute(sa.select(Cups.cups).order_by("name"))]

        return echo.ListSayingsResponse(sayings=await self._kit.read_models.query(read))


def service(settings: ChassisSettings) -> Service:
    return Service(
        name="echo",
        settings=settings,
        handlers=HANDLERS,
        servicers=lambda kit: [(echo.add_echo_servicer, EchoServicer(kit))],
        publish=publish,
        partition_key=partition_key,
        projections=[Cups()],
        subscriptions=lambda kit: [Subscription("echo-tasting", ["echo"], taste_what_was_poured)],
        timers={"taste": lambda timer: Taste(timer.key, "the last")},
    )


def main() -> None:
    service(ChassisSettings.from_environment("echo")).run(sys.argv[1:])


if __name__ == "__main__":
    folder = os.environ.get("ECHO_MIGRATIONS")
    run("echo", lambda: main, Path(folder) if folder else None)
