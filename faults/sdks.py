"""SDKs: those of Segment and RudderStack, unmodified, send over a network that loses answers to an edge that is killed meanwhile.

Everything they were given has to arrive once and as it was sent, and the account of what came in has to be right. An SDK that does not try
again loses what the same network swallows.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any, Final
from uuid import uuid4

import grpc
import orjson
import psycopg
from rudderstack.analytics.client import Client as Rudder
from segment.analytics.client import Client as Segment

from deploy.local.contracts import scopes
from deploy.local.stack import LocalStack
from faults.bad_network import unreliable
from faults.journal import Finding
from faults.verdict import Control, Scale, Verdict
from faults.workplace import workplace
from scrm.tracking.v1 import source_pb2
from scrm.tracking.v1 import source_service_pb2 as pb
from scrm.tracking.v1.behaviour_pb2 import TrackedEvent
from scrm.tracking.v1.source_service_pb2_grpc import SourceServiceStub

TENANT: Final = "faults"
EVENTS: Final = {Scale.FULL: 25_000, Scale.SMALL: 400}
"""Of each SDK."""

KILLS: Final = {Scale.FULL: 2, Scale.SMALL: 1}
BATCH: Final = 100
HASTY: Final = 1_000
SDKS: Final = {"segment": Segment, "rudder": Rudder}
_LOST: Final = 0.1  # of answers
_BUSY: Final = 0.05
_PATIENCE_SECONDS: Final = 400


def run(scale: Scale) -> Verdict:
    with workplace("sdks") as folder, LocalStack(folder, ("identity", "tracking")) as stack:
        keys = {it: _write_key(stack, it) for it in (*SDKS, "hasty")}
        with _network(f"http://127.0.0.1:{stack.ports.edge}") as (host, happened):
            sending = [_Sending(name, keys[name], host, EVENTS[scale]) for name in SDKS]
            for it in sending:
                it.start()
            for number in range(KILLS[scale]):
                _wait_for(stack, (number + 1) * EVENTS[scale] // 2)
                stack.kill("tracking")
                stack.component("tracking").child.start()
            for it in sending:
                it.join(_PATIENCE_SECONDS)
            finding = _judge(stack, sending)
            hasty = _Sending("hasty", keys["hasty"], host, HASTY, upload_size=5, max_retries=0)
            hasty.start()
            hasty.join(_PATIENCE_SECONDS)
            lost = HASTY - len(_contents(stack, "hasty"))
        counts = Counter(happened)
        duplicates = _tallied(stack, "DUPLICATE")
    return Verdict(
        fault="sdks",
        done=f"{KILLS[scale]} SIGKILLs of the edge, {counts['lost']} answers lost, {counts['busy']} times busy",
        acknowledged=sum(it.count for it in sending),
        lost=len(finding.lost),
        doubled=len(finding.doubled),
        control=Control("an SDK that does not try again", f"{lost:,} of {HASTY:,} messages do not arrive", lost > 0),
        problems=finding.problems,
        figures={"requests": len(happened), "messages known again": duplicates},
    )


class _Sending(Thread):
    """One SDK that is given `count` messages."""

    def __init__(self, name: str, key: str, host: str, count: int, **options: Any) -> None:
        super().__init__(daemon=True)
        self.count = count
        self.sdk = name
        self.errors: list[str] = []
        self._client = SDKS.get(name, Segment)(
            key,
            host=host,
            on_error=lambda error, _: self.errors.append(repr(error)),
            **{"upload_size": BATCH, "upload_interval": 0.05, "max_queue_size": count + BATCH, **options},
        )

    def run(self) -> None:
        for number in range(self.count):
            context = {"timezone": "Asia/Tokyo"}
            self._client.track(
                f"u-{number % 97}", "Tea Poured", _said(number), anonymous_id=f"a-{number}", context=context
            )
        self._client.flush()
        self._client.join()


def _said(number: int) -> dict[str, Any]:
    return {"number": number, "words": ["茶", "é", "\U0001f375"], "nested": {"a": [1, None, 2.5]}}


def _judge(stack: LocalStack, sending: Sequence[_Sending]) -> Finding:
    finding = Finding()
    for it in sending:
        finding.problems += [f"{it.sdk} gave up: {error}" for error in it.errors[:3]]
        if it.is_alive():
            finding.problems.append(f"{it.sdk} does not come to an end")
        arrived = Counter(_contents(stack, it.sdk))
        for number in range(it.count):
            times = arrived.pop(orjson.dumps(_said(number)), 0)
            if times == 0:
                finding.lost.append(f"{it.sdk} {number}")
            elif times > 1:
                finding.doubled.append(f"{it.sdk} {number}")
        finding.problems += [f"{it.sdk} never sent {content!r}" for content in list(arrived)[:3]]
    finding.require_equal("messages counted as accepted", _tallied(stack, "ACCEPTED"), sum(it.count for it in sending))
    finding.require_equal("conflicts", _rows(stack, "SELECT count(*)::int FROM conflicts")[0][0], 0)
    return finding


def _contents(stack: LocalStack, source: str) -> list[bytes]:
    found = _rows(stack, "SELECT payload FROM accepted WHERE source_key = %s", source)
    return [orjson.dumps(orjson.loads(TrackedEvent.FromString(it[0]).properties_json)) for it in found]


def _arrived(stack: LocalStack) -> int:
    return int(_rows(stack, "SELECT count(*)::int FROM accepted")[0][0])


def _tallied(stack: LocalStack, outcome: str) -> int:
    return int(_rows(stack, "SELECT coalesce(sum(count), 0)::int FROM tallies WHERE outcome = %s", outcome)[0][0])


def _rows(stack: LocalStack, query: str, *parameters: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(stack.postgres.dsn("tracking")) as rows:
        return rows.execute(query.encode(), parameters).fetchall()


def _write_key(stack: LocalStack, name: str) -> str:
    request = pb.RegisterSourceRequest(request_id=str(uuid4()), key=name, kind=source_pb2.SOURCE_KIND_SERVER)
    token = stack.credentials.mint(TENANT, scopes())
    with grpc.insecure_channel(stack.address("tracking")) as channel:
        grpc.channel_ready_future(channel).result(timeout=30)
        answer = SourceServiceStub(channel).RegisterSource(request, metadata=(("authorization", f"Bearer {token}"),))
    return str(answer.write_key)


def _wait_for(stack: LocalStack, count: int) -> None:
    """Until more than `count` messages have arrived."""
    give_up = monotonic() + _PATIENCE_SECONDS
    while _arrived(stack) <= count:
        if monotonic() > give_up:
            raise TimeoutError("the messages do not arrive")
        sleep(0.02)


@contextmanager
def _network(url: str) -> Iterator[tuple[str, list[str]]]:
    """The bad network, in a thread of its own; its address, and what happened on it."""
    dice, stop = random.Random(4), Event()  # noqa: S311 - repeatable
    opened: SimpleQueue[tuple[str, list[str]]] = SimpleQueue()

    def fate(_: int) -> str:
        drawn = dice.random()
        return "lost" if drawn < _LOST else "busy" if drawn < _LOST + _BUSY else ""

    async def serve() -> None:
        async with unreliable(url, fate) as it:
            opened.put(it)
            await asyncio.to_thread(stop.wait)

    thread = Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    try:
        yield opened.get(timeout=30)
    finally:
        stop.set()
        thread.join(10)
