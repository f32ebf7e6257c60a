"""What a service tells the world, as a log: its stored events turned into messages by its `published_events`.

`PublishedLog(name, store, publish=..., partition_key=...)`. Any other object with the members of
`PublicLog` can be relayed too (tracking has one over its table of behaviours).
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from math import ceil
from typing import Any, Protocol
from uuid import UUID

from google.protobuf.message import Message

from chassis.envelope import Outgoing, event_name
from chassis.log import EventStore, Recorded
from chassis.pulse import News

Publish = Callable[[Recorded], Message | Sequence[Message] | None]
PartitionKey = Callable[[Recorded], UUID | str]

_CHUNK = 500


class PublicLog(Protocol):
    """Messages in an order that never changes, under positions that grow with the order of commits.

    `name` is that of the stream; its subjects are added as events of new names turn up.
    """

    @property
    def name(self) -> str: ...

    @property
    def news(self) -> int:
        """The beats that may be about it (`chassis.pulse.News`)."""
        ...

    def read(self, after: int, limit: int) -> list[Outgoing]:
        """The messages after position `after`, in order: about `limit` of them and no position in half.

        Empty only if there is nothing more to publish up to `head()`.
        """
        ...

    def head(self) -> int:
        """The last position that is committed; 0 for an empty log."""
        ...

    def head_now(self) -> Awaitable[int]:
        """`head`, asked together with what else this process asks its database at the moment."""
        ...


class PublishedLog:
    """The public log over an event store: each event becomes no message, one, or several under one position.

    Events of the classes `private` become none, and are not even read.
    """

    news = News.EVENTS

    def __init__(
        self,
        name: str,
        store: EventStore,
        *,
        publish: Publish,
        partition_key: PartitionKey,
        private: Collection[type[Any]] = (),
    ) -> None:
        self.name = name
        self._store = store
        self._publish = publish
        self._partition_key = partition_key
        self._without = sorted(it.TOPIC for it in private)
        self._each = 1.0

    def head(self) -> int:
        return self._store.head()

    def head_now(self) -> Awaitable[int]:
        return self._store.head_now()

    def read(self, after: int, limit: int) -> list[Outgoing]:
        found: list[Outgoing] = []
        while not found:
            recorded = self._store.read_log(after, self._entries(limit), self._without)
            if not recorded:
                break
            for number, it in enumerate(recorded, 1):
                found += self._outgoing(it)
                self._each = len(found) / number
                if len(found) >= limit:
                    break
            after = recorded[-1].position
        return found

    def _entries(self, limit: int) -> int:
        """How many to read for about so many messages: fewer where those read last were several each, which would be read again."""
        return max(1, ceil(limit / self._each)) if self._each > 1 else max(limit, _CHUNK)

    def _outgoing(self, recorded: Recorded) -> list[Outgoing]:
        published = self._publish(recorded)
        if published is None:
            return []
        messages = (published,) if isinstance(published, Message) else published
        key, context = self._partition_key(recorded), recorded.context
        return [
            Outgoing(
                recorded.position,
                context.tenant,
                event_name(message.DESCRIPTOR.name),
                key,
                message.SerializeToString(),
                recorded.recorded_at,
                message.DESCRIPTOR.full_name,
                context.traceparent,
                context.correlation,
                context.causation,
            )
            for message in messages
        ]
