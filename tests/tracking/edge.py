"""The HTTP door in tests: served on a free port with two sources behind it, and a network in front that loses answers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson

from chassis.clock import Clock
from chassis.commands import CommandBus
from chassis.context import Context
from chassis.event_store import PostgresEventStore
from chassis.key_file import KeyFile
from chassis.telemetry import Metrics
from scrm.tracking.v1.behaviour_pb2 import TrackedEvent
from services.tracking.adapters.account_seal import AccountSeal
from services.tracking.adapters.hit_log import HitLog
from services.tracking.adapters.ingest import Ingest
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.link_book import LinkBook
from services.tracking.adapters.link_door import LinkDoor
from services.tracking.adapters.link_signer import LinkSigner
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.adapters.qr_door import QrDoor
from services.tracking.adapters.script_door import ScriptDoor
from services.tracking.adapters.segment_door import SegmentDoor
from services.tracking.adapters.source_book import SourceBook
from services.tracking.adapters.wechat_door import WechatDoor
from services.tracking.adapters.write_keys import write_key
from services.tracking.application.definition_handlers import definition_handlers
from services.tracking.application.handlers import HANDLERS
from services.tracking.application.source_commands import RegisterSource
from services.tracking.domain.source import SourceKind, Terms
from services.tracking.service import quarantine

SOURCES: dict[str, tuple[SourceKind, dict[str, str]]] = {
    "site": (SourceKind.SDK, {}),
    "shop": (SourceKind.SERVER, {}),
    "club": (SourceKind.SERVER, {"user_namespace": "member_no", "user_scope": "members"}),
}
KEYS = {name: write_key(b"a secret of this service", "acme", name, "r1") for name in SOURCES}


KEY_FILE = KeyFile("1", {"1": b"a secret of 32 bytes for tests.."})


class Door:
    """The door on `url`, and what came in through it."""

    def __init__(self, store: PostgresEventStore, clock: Clock) -> None:
        self.store = store
        self.bus = CommandBus(store, clock, [*HANDLERS, *definition_handlers(quarantine)])
        self.metrics = Metrics()
        self.writer = IngestWriter(store.engine)
        self.book = SourceBook(store)
        self.seal = AccountSeal(KEY_FILE)
        ingest = Ingest(self.writer, self.book, clock, PlanBook(store))
        self.edge = SegmentDoor(ingest, clock, self.metrics).edge
        self.edge.add(WechatDoor(ingest, clock, self.seal, self.edge.body).routes)
        self.signer = LinkSigner(KEY_FILE)
        self.hits = HitLog(store.engine)
        book = LinkBook(store)
        self.edge.add(LinkDoor(book, self.signer, self.hits, clock, self.edge.body).routes)
        self.edge.add(ScriptDoor().routes)
        self.edge.add(QrDoor(book, self.signer, store).routes)
        self.edge.at_end(self.hits.stop)
        self.url = ""
        self.client = httpx.AsyncClient(timeout=30, verify=False)  # to read the certificates of the machine takes 30 ms

    def register(self, name: str) -> None:
        kind, given = SOURCES[name]
        terms = Terms(True, 0, given.get("user_namespace", "external_id"), given.get("user_scope", name))
        self.given(RegisterSource("acme", name, kind, terms, KEYS[name].digest))

    def given(self, command: Any) -> None:
        self.bus.execute_now(command, Context("acme", "test"))

    async def post(self, path: str, body: Any, source: str = "site", **headers: str) -> httpx.Response:
        """Send `body`, as JSON unless it is bytes, as `source` ("" for nobody)."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        auth = httpx.BasicAuth(str(KEYS[source]), "") if source else httpx.Auth()
        return await self.client.post(self.url + path, content=content, auth=auth, headers=headers)

    async def said(self, path: str, body: Any, source: str = "site", **headers: str) -> list[str]:
        """What became of each message."""
        answer = await self.post(path, body, source, **headers)
        assert answer.status_code == 200, answer.text
        found = [(it["outcome"], it.get("reason", ""), it.get("field", "")) for it in answer.json()["results"]]
        return [" ".join(filter(None, it)) for it in found]

    def accepted(self) -> list[TrackedEvent]:
        """What came in, in its order."""
        return [
            TrackedEvent.FromString(it.payload) for it in self.rows("SELECT payload FROM accepted ORDER BY position")
        ]

    def rows(self, query: str) -> list[Any]:
        with self.store.engine.connect() as rows:
            return list(rows.exec_driver_sql(query).all())

    def counted(self) -> int:
        """How many messages are accounted for, whatever became of them."""
        return int(self.rows("SELECT coalesce(sum(count), 0)::int FROM tallies")[0][0])


@asynccontextmanager
async def opened(store: PostgresEventStore, clock: Clock) -> AsyncIterator[Door]:
    door = Door(store, clock)
    for name in SOURCES:
        door.register(name)
    door.writer.start()
    door.hits.start()
    door.url = f"http://127.0.0.1:{await door.edge.start('127.0.0.1', 0)}"
    try:
        yield door
    finally:
        await door.client.aclose()
        await door.edge.stop(1)
        door.writer.stop()
