"""The smallest domain there is, for faults that need events but no service: meters that count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from google.protobuf.wrappers_pb2 import Int64Value

from chassis.aggregate import Aggregate, Event, InitialEvent, event
from chassis.commands import Handlers, UnitOfWork, handler
from chassis.context import Context
from chassis.log import Draft, EventStore, StoredContext

TENANT = "faults"
_METERS = UUID("7c9a0d52-3a0e-5b52-9d0e-5d1f6f1f9a10")


class Meter(Aggregate):
    """Counts numbers that come in, each of which is unique."""

    TOPIC = "faults.Meter"

    class Installed(InitialEvent):
        TOPIC = "faults.MeterInstalled"
        tenant: str

    class Advanced(Event):
        TOPIC = "faults.MeterAdvanced"
        number: int

    @event(Installed)
    def __init__(self, id: UUID, tenant: str) -> None:
        self.tenant = tenant
        self.count = 0

    def advance(self, number: int) -> None:
        self._advanced(number=number)

    @event(Advanced)
    def _advanced(self, number: int) -> None:
        self.count += 1


@dataclass(frozen=True, slots=True)
class Advance:
    meter: UUID
    number: int


def advance(command: Advance, work: UnitOfWork) -> int:
    """Installs the meter if need be; how often it has been advanced."""
    meter = work.find(Meter, command.meter)
    if meter is None:
        meter = Meter(command.meter, work.context.tenant)
        work.add(meter)
    meter.advance(command.number)
    return meter.count


HANDLERS: Handlers = [handler(Advance, advance, loads=lambda it: [it.meter])]


def count(result: int) -> Int64Value:
    """The answer to `Advance`."""
    return Int64Value(value=result)


def meter_id(number: int) -> UUID:
    return uuid5(_METERS, str(number))


def draft(meter: UUID, version: int, number: int) -> Draft:
    """An event as it would come out of a unit of work."""
    fields: Mapping[str, Any] = {"originator_id": meter, "originator_version": version, "number": number}
    advanced = Meter.Advanced(timestamp=Event.create_timestamp(), **fields)
    return Draft(advanced, StoredContext.of(Context.system(TENANT, "faults")))


def numbers(store: EventStore) -> Sequence[int]:
    """Every number ever counted, in the order of the log."""
    found: list[int] = []
    position = 0
    while recorded := store.read_log(position, 1000):
        position = recorded[-1].position
        found += [it.event.number for it in recorded if isinstance(it.event, Meter.Advanced)]
    return found
