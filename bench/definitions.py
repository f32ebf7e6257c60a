"""The tags, segments and conditions that audiences are measured with, and publishing them as callers do."""

import asyncio
from collections.abc import Iterator, Sequence
from random import Random
from typing import Final
from uuid import uuid4

import grpc

from bench.calls import Metadata
from bench.population import CITIES, TAGS, TYPES, tag_key
from scrm.tagging.v1 import condition_service_pb2 as conditions
from scrm.tagging.v1 import segment_pb2, tag_pb2
from scrm.tagging.v1 import tag_service_pb2 as tags
from scrm.tagging.v1 import tagging_service_pb2 as pb
from scrm.tagging.v1.condition_service_pb2_grpc import ConditionServiceStub
from scrm.tagging.v1.tag_service_pb2_grpc import TagServiceStub
from scrm.tagging.v1.tagging_service_pb2_grpc import TaggingServiceStub

LEAVES: Final = 8
PUBLISHED: Final = 50
ALL_PUBLISHED: Final = 200
HEAVY: Final = "event(any) count >= 12 in last 365 days"
"""The dearest to find: it counts every behaviour of half the time there is of everybody."""

ENTRY: Final = 'event("bench_entry") count >= 1 in last 7 days'
WAITED: Final = 'event("bench_cart") without event("bench_paid") within 1 hour in last 30 days'
_PATIENCE: Final = 600


def of_tags(draw: Random) -> str:
    """Eight tags: of two groups of three, those in both and not in two others."""
    one, two, three, four, five, six, seven, eight = (
        f'tag("{tag_key(it)}")' for it in draw.sample(range(TAGS), LEAVES)
    )
    return f"({one} or {two} or {three}) and ({four} or {five} or {six}) and not ({seven} or {eight})"


def published() -> Iterator[str]:
    """The conditions of the segments that a tenant has: of tags, behaviours in windows, orders, absences, sequences, recency."""
    draw = Random(50)  # noqa: S311 - nothing secret
    yield HEAVY
    yield from (of_tags(draw) for _ in range(20))
    yield from (_count(draw) for _ in range(12))
    yield from (f"order net >= {draw.randrange(100, 900)} in last {draw.choice((90, 365))} days" for _ in range(5))
    for _ in range(5):
        yield f"{_event(draw)} without {_event(draw)} within {draw.randrange(1, 8)} days in last 30 days"
    yield from (f"{_event(draw)} then {_event(draw)} within 2 days in last 90 days" for _ in range(3))
    yield from (f"{_event(draw)} recency_days > {draw.choice((30, 60, 90))}" for _ in range(2))
    yield from (f'city = "city {draw.randrange(CITIES)}" and {_count(draw)}' for _ in range(2))


def further(number: int) -> Iterator[str]:
    """So many more, as rules of tags have them: a type of behaviours in a window, for those with or without a tag or city."""
    draw = Random(150)  # noqa: S311 - nothing secret
    for _ in range(number):
        others = (f'tag("{tag_key(draw.randrange(TAGS))}")', f'city = "city {draw.randrange(CITIES)}"')
        yield f"{_count(draw)} and {draw.choice(('', 'not '))}{draw.choice(others)}"


def _count(draw: Random) -> str:
    return f"{_event(draw)} count >= {draw.randrange(2, 6)} in last {draw.choice((7, 30, 90))} days"


def _event(draw: Random) -> str:
    return f'event("t_{draw.randrange(TYPES)}")'


class Definitions:
    """The calls that define things, for one tenant."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata) -> None:
        self._conditions, self._tags = ConditionServiceStub(channel), TagServiceStub(channel)
        self._tagging = TaggingServiceStub(channel)
        self._metadata = metadata

    async def condition(self, text: str) -> segment_pb2.Condition:
        """What a text means."""
        request = conditions.FormatConditionRequest(text=text)
        return (await self._conditions.FormatCondition(request, metadata=self._metadata)).condition

    async def define_tags(self) -> None:
        """All tags of the population."""
        category = tags.CreateCategoryRequest(request_id=str(uuid4()), display_name="Bench")
        answer = await self._tags.CreateCategory(category, metadata=self._metadata)
        requests = [
            tags.CreateTagRequest(
                request_id=str(uuid4()),
                tag_key=tag_key(it),
                display_name=tag_key(it),
                category_id=answer.category.category_id,
                value_mode=tag_pb2.TAG_VALUE_MODE_FLAG,
                kind=tag_pb2.TAG_KIND_MANUAL,
                manual_allowed=True,
            )
            for it in range(TAGS)
        ]
        await asyncio.gather(*(self._tags.CreateTag(it, metadata=self._metadata) for it in requests))

    async def publish(self, name: str, text: str) -> segment_pb2.Segment:
        """A segment of everybody for whom `text` holds."""
        request = pb.CreateSegmentRequest(
            request_id=str(uuid4()),
            display_name=name,
            definition=segment_pb2.SegmentDefinition(dynamic=await self.condition(text)),
            universe=segment_pb2.UNIVERSE_ALL,
        )
        return (await self._tagging.CreateSegment(request, metadata=self._metadata, timeout=_PATIENCE)).segment

    async def previews(self, texts: Sequence[str]) -> Sequence[pb.PreviewSegmentRequest]:
        """The requests that ask how many customers are meant, and for some of them."""
        meant = [segment_pb2.SegmentDefinition(dynamic=await self.condition(it)) for it in texts]
        return [pb.PreviewSegmentRequest(definition=it, universe=segment_pb2.UNIVERSE_ALL) for it in meant]

    async def preview(self, request: pb.PreviewSegmentRequest) -> int:
        """How many customers are meant."""
        return (await self._tagging.PreviewSegment(request, metadata=self._metadata)).count
