"""Where a brand defines what it tracks, in tests: commands on a store, and what is recorded of them."""

from typing import Any

from google.protobuf.message import Message

from chassis.clock import ReplayClock
from chassis.commands import CommandBus
from chassis.context import Call, Context
from chassis.log import EventStore
from chassis.testing import recorded
from services.tracking.application.definition_handlers import definition_handlers
from services.tracking.application.published_events import publish
from services.tracking.service import quarantine
from tests.tracking.shop import NOON


class Studio:
    """One tenant's definitions on `store`."""

    def __init__(self, store: EventStore, tenant: str = "acme") -> None:
        self.tenant = tenant
        self.clock = ReplayClock(NOON)
        self.store = store
        self.bus = CommandBus(store, self.clock, definition_handlers(quarantine))

    def tell(self, *commands: Any, request_id: str | None = None) -> Any:
        """Carry out commands one by one; the result of the last of them."""
        call = Call("Define", request_id, request_id.encode()) if request_id else None
        context = Context(self.tenant, "test", call=call)
        return [self.bus.execute_now(it, context) for it in commands][-1]

    @property
    def events(self) -> list[str]:
        return [type(it.event).__name__ for it in recorded(self.bus)]

    @property
    def published(self) -> list[Message]:
        told = [publish(it) for it in recorded(self.bus)]
        return [one for it in told if it for one in ([it] if isinstance(it, Message) else it)]
