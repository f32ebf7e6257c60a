"""Identity's server with the library's stock Application behind it instead of our bus: one commit per command."""

import asyncio
import dataclasses
import os
import sys
from collections.abc import Callable, Collection, Sequence
from typing import Any, TypeVar
from uuid import UUID

import uvloop
from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.persistence import JSONTranscoder, Transcoding
from google.protobuf.message import Message
from psycopg.conninfo import conninfo_to_dict

from chassis import aggregate as aggregates
from chassis.aggregate import Aggregate, recording_at
from chassis.clock import SystemClock
from chassis.context import Context, current
from chassis.credentials import KeySet, Verifier
from chassis.due_times import Timer
from chassis.errors import AggregateNotFound
from chassis.grpc_server import Gate, GrpcServer
from chassis.key_file import KeyFile
from chassis.telemetry import Metrics, Tracing
from scrm.identity.v1.identity_service_pb2_grpc import add_IdentityServiceServicer_to_server
from services.identity.adapters.grpc_servicer import IdentityServicer
from services.identity.adapters.matching_servicer import MatchingParts
from services.identity.adapters.uncredited_orders import SqlUncreditedOrders
from services.identity.application.handlers import handlers
from services.identity.application.vault import KeyWrap, Vault, WrappedKey
from services.identity.domain.identifiers import IdentifierReader, LinkedIdentifier

A = TypeVar("A", bound=Aggregate)


class LinkedIdentifierAsDict(Transcoding):
    type = LinkedIdentifier
    name = "linked_identifier"

    def encode(self, obj: LinkedIdentifier) -> dict[str, Any]:
        return {field.name: getattr(obj, field.name) for field in dataclasses.fields(obj)}

    def decode(self, data: dict[str, Any]) -> LinkedIdentifier:
        return LinkedIdentifier(**data)


class BytesAsHex(Transcoding):
    type = bytes
    name = "bytes_hex"

    def encode(self, obj: bytes) -> str:
        return obj.hex()

    def decode(self, data: str) -> bytes:
        return bytes.fromhex(data)


class StockIdentity(Application[UUID]):
    """What the library offers out of the box, with transcodings for the values in our events."""

    def register_transcodings(self, transcoder: JSONTranscoder) -> None:
        super().register_transcodings(transcoder)
        transcoder.register(LinkedIdentifierAsDict())
        transcoder.register(BytesAsHex())


class StockWork:
    """The part of a unit of work that a resolution needs, on a stock repository."""

    def __init__(self, application: StockIdentity, context: Context) -> None:
        self.context = context
        self.now = SystemClock().now()
        self.touched: dict[UUID, Aggregate] = {}
        self._repository = application.repository

    def new_id(self) -> UUID:
        return aggregates.new_id(self.now, os.urandom(10))

    def find(self, kind: type[A], id: UUID) -> A | None:
        return self.find_all(kind, [id]).get(id)

    def find_all(self, kind: type[A], ids: Collection[UUID]) -> dict[UUID, A]:
        for id in ids:
            if id not in self.touched:
                try:
                    self.touched[id] = self._repository.get(id)
                except AggregateNotFoundError:
                    continue
        return {id: it for id in ids if isinstance(it := self.touched.get(id), kind)}

    def add(self, aggregate: Aggregate) -> None:
        self.touched[aggregate.id] = aggregate

    def schedule(self, timer: Timer) -> None:
        """When an anonymous customer expires, which the stock server has no table for: less work than ours has."""

    def insert(self, statement: str, key: object, row: object) -> None:
        """The data key of a new customer, which the stock server need not store: less work than ours has."""

    def inserted(self, statement: str, key: object) -> None:
        return None


class NoKeys:
    """The stored data keys: none, since a visitor of the bench comes once."""

    def read(self, nodes: Collection[UUID]) -> dict[UUID, WrappedKey]:
        return {}

    def destroy(self, nodes: Collection[UUID], at: object) -> None:
        raise TypeError("the bench erases nobody")


class StockBus:
    """Carries a command out with the same handler and saves with one commit; callers run in threads."""

    def __init__(self, application: StockIdentity) -> None:
        self._application = application
        vault = Vault(KeyWrap(KeyFile("1", {"1": b"bench" * 6 + b".."})), lambda work: NoKeys())
        self._handlers = {it.command: it.handle for it in handlers(vault, SqlUncreditedOrders)}

    async def load(self, kind: type[A], id: UUID) -> A:
        """The aggregate as stored, such as the rules of a brand, which are looked up every few seconds."""
        found = await asyncio.to_thread(StockWork(self._application, current()).find, kind, id)
        if found is None:
            raise AggregateNotFound
        return found

    async def execute(self, command: Any, reply: Callable[[Any], Message]) -> Message:
        return await asyncio.to_thread(self._execute, command, reply, current())

    def _execute(self, command: Any, reply: Callable[[Any], Message], context: Context) -> Message:
        work: Any = StockWork(self._application, context)
        with recording_at(work.now):
            answer = reply(self._handlers[type(command)](command, work))
            self._application.save(*work.touched.values())
        return answer


async def serve(address: str, dsn: str, jwks: str) -> None:
    parts = conninfo_to_dict(dsn)
    application = StockIdentity(
        env={
            "PERSISTENCE_MODULE": "eventsourcing.postgres",
            "POSTGRES_DBNAME": str(parts["dbname"]),
            "POSTGRES_HOST": str(parts["host"]),
            "POSTGRES_PORT": str(parts["port"]),
            "POSTGRES_USER": str(parts["user"]),
            "POSTGRES_PASSWORD": "unused",
            "POSTGRES_POOL_SIZE": "16",
            "POSTGRES_MAX_OVERFLOW": "48",
        }
    )
    verifier = Verifier(await KeySet.opened(jwks), "scrm-local", "scrm")
    gate = Gate("identity", verifier, Metrics(), Tracing.from_environment("stock", {}))
    bus: Any = StockBus(application)
    unread: Any = None
    matching = MatchingParts(unread, unread, unread)
    reader = IdentifierReader(b"bench" * 8, region="US", regions={})
    servicer = IdentityServicer(bus, unread, reader, SystemClock(), matching)
    server = GrpcServer(gate, [(add_IdentityServiceServicer_to_server, servicer)])
    await server.start(address)
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main(arguments: Sequence[str]) -> None:
    uvloop.run(serve(*arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
