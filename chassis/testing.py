"""Short forms for tests of commands: a bus on the memory store and what it recorded."""

from chassis.clock import Clock
from chassis.commands import CommandBus, Handlers
from chassis.event_store import MemoryEventStore, Recorded


def memory_bus(handlers: Handlers, clock: Clock) -> CommandBus:
    """A command bus on an empty memory store; use its `execute_now`."""
    return CommandBus(MemoryEventStore(), clock, handlers)


def recorded(bus: CommandBus, after: int = 0) -> list[Recorded]:
    """Everything `bus` has recorded after position `after`."""
    return bus.store.read_log(after, 1_000_000)
