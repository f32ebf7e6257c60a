"""Whenever a behaviour or an order is recorded, or two customers are one: bring purchase paths, insights and shares in line with it.

Messages only say whose facts to look at; what is told rests on the facts themselves, so their order of arrival is no matter.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import orjson

from chassis.commands import UnitOfWork
from chassis.consumer import Incoming, Subscription
from chassis.envelope import event_name
from scrm.identity.v1.events_pb2 import CustomersMerged
from scrm.tracking.v1 import events_pb2 as pb
from services.tracking.application.histories import histories
from services.tracking.application.insight_commands import (
    Look,
    await_merges,
    look_at,
    look_at_orders,
    look_at_readers,
    tell,
)
from services.tracking.application.path_commands import PathNews, tell_news
from services.tracking.application.ports import FactBook, Facts, People
from services.tracking.application.share_commands import SeenShare, SeenVisit, take_shares, take_visits
from services.tracking.application.wire_values import instant
from services.tracking.domain.erasure import ErasedNode, erased_node_id
from services.tracking.domain.insights import GROUP_TYPES, Kind, silent_member
from services.tracking.domain.path_facts import NEED_CATEGORY, PATH_TYPES

STREAMS: Final = ("tracking_behaviours", "tracking", "identity")

_BEHAVIOUR: Final = pb.BehaviourTracked.DESCRIPTOR.full_name
_ORDERS: Final[dict[str, Any]] = {
    it.DESCRIPTOR.full_name: it
    for it in (
        pb.OrderPlaced,
        pb.OrderPaid,
        pb.OrderPaymentRevised,
        pb.OrderRefunded,
        pb.OrderReceived,
        pb.OrderCancelled,
    )
}
_MERGED: Final = CustomersMerged.DESCRIPTOR.full_name
EVENTS: Final = tuple(event_name(it.rpartition(".")[2]) for it in (_BEHAVIOUR, _MERGED, *_ORDERS))

KEEP_ORDERS: Final = (
    "INSERT INTO node_orders (tenant, node, order_id) SELECT * FROM unnest(%s::text[], %s::uuid[], %s::uuid[])"
    " ON CONFLICT DO NOTHING"
)

_PATH: Final = frozenset(PATH_TYPES)
_READING: Final = frozenset({"content_viewed", "content_engaged"})
_CART: Final = frozenset({"cart_added", "product_viewed"})
_SHARING: Final = frozenset({"content_shared", "content_forwarded"})
_LONGEST_SHARE_ID: Final = 64


@dataclass(slots=True)
class News:
    """Whose facts to look at: steps and orders by node, and the nodes that have to do with contents, carts and groups."""

    steps: dict[UUID, set[str]] = field(default_factory=dict)
    orders: dict[UUID, UUID] = field(default_factory=dict)
    readers: set[UUID] = field(default_factory=set)
    carts: set[UUID] = field(default_factory=set)
    members: set[UUID] = field(default_factory=set)
    shares: list[SeenShare] = field(default_factory=list)
    visits: list[SeenVisit] = field(default_factory=list)
    survivors: set[UUID] = field(default_factory=set)

    @classmethod
    def of(cls, batch: Sequence[Incoming]) -> "News":
        found = cls()
        for it in batch:
            if it.type == _BEHAVIOUR:
                found._behaviour(it.parse(pb.BehaviourTracked))
            elif it.type == _MERGED:
                found.survivors.add(UUID(it.parse(CustomersMerged).survivor_id))
            elif it.type in _ORDERS:
                order = it.parse(_ORDERS[it.type])
                found.orders[UUID(order.order_id)] = UUID(order.node_id)
        return found

    @property
    def shoppers(self) -> set[UUID]:
        return {*self.steps, *self.orders.values()}

    def _behaviour(self, it: pb.BehaviourTracked) -> None:
        kind = it.event_type
        if kind in _PATH and (kind not in NEED_CATEGORY or b'"category"' in it.properties_json):
            self.steps.setdefault(UUID(it.node_id), set()).add(f"{it.source_key}/{it.message_id}")
        if kind in _READING:
            self.readers.add(UUID(it.node_id))
        if kind in _CART:
            self.carts.add(UUID(it.node_id))
        if kind == "group_joined":
            self.members.add(UUID(it.node_id))
        if it.share_id or kind in _SHARING:
            self._share(it)

    def _share(self, it: pb.BehaviourTracked) -> None:
        """A behaviour that shares names its own share among its properties, and in its context the one it came through."""
        at = instant(it.occur_time)
        if at is None:
            return
        node = UUID(it.node_id)
        if it.event_type not in _SHARING:
            self.visits.append(SeenVisit(it.share_id, node, at))
            return
        mine = orjson.loads(it.properties_json).get("share_id")
        if isinstance(mine, str) and 0 < len(mine) <= _LONGEST_SHARE_ID:
            parent = "" if it.share_id == mine else it.share_id
            self.shares.append(SeenShare(mine, node, it.content_id, parent, at))


class Analysis:
    """Takes in batches of messages."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    def subscription(self) -> Subscription:
        return Subscription("tracking_analysis", STREAMS, self.absorb, events=EVENTS)

    def absorb(self, batch: Sequence[Incoming], work: UnitOfWork) -> None:
        """One batch of one tenant."""
        news, book = News.of(batch), self._facts(work)
        if news.orders:
            news.orders = _unerased(work, news.orders)
        if news.orders:
            _keep(work, news.orders)
        if everybody := news.shoppers | news.readers | news.members:
            _look_at_people(work, book, book.people(everybody), news)
        if news.survivors:
            await_merges(work, news.survivors)
        if news.shares:
            take_shares(work, news.shares)
        if news.visits:
            take_visits(work, book, news.visits)


def _unerased(work: UnitOfWork, orders: dict[UUID, UUID]) -> dict[UUID, UUID]:
    """Without the orders of those who are erased: of them nothing is remembered, whatever becomes of an order."""
    keys = {node: erased_node_id(work.context.tenant, node) for node in set(orders.values())}
    erased = work.find_all(ErasedNode, sorted(keys.values()))
    return {order: node for order, node in orders.items() if keys[node] not in erased}


def _keep(work: UnitOfWork, orders: Mapping[UUID, UUID]) -> None:
    """Remember the node of each order."""
    for order, node in orders.items():
        work.insert(KEEP_ORDERS, (node, order), (work.context.tenant, node, order))


def _look_at_people(work: UnitOfWork, book: FactBook, people: People, news: News) -> None:
    looks: list[Look] = []
    if shoppers := news.shoppers:
        looks += _follow_paths(work, book, people.among(shoppers), news)
    if news.readers:
        looks += look_at_readers(book, people.among(news.readers))
    if news.members:
        looks += _look_at_members(work, book, people.among(news.members))
    tell(work, looks)


def _follow_paths(work: UnitOfWork, book: FactBook, people: People, news: News) -> list[Look]:
    keys = _by_customer(people, [(node, key) for node, them in news.steps.items() for key in them])
    orders = _by_customer(people, [(node, order) for order, node in news.orders.items()])
    carts = {people.of(it): it for it in news.carts}
    known = histories(work, book, people, news.orders)
    tell_news(work, [PathNews(it, keys.get(who, ()), orders.get(who, ())) for who, it in known.items()])
    looks: list[Look] = []
    for customer, history in known.items():
        if customer in carts:
            looks.append(look_at(work, history, Kind.CART_FORGOTTEN, carts[customer]))
        if customer in orders:
            looks += look_at_orders(work, history)
    return looks


def _look_at_members(work: UnitOfWork, book: FactBook, people: People) -> list[Look]:
    found = _by_customer(people, [(it.node, it) for it in book.behaviours(people.all_nodes, GROUP_TYPES)])
    kind, nodes = Kind.SILENT_GROUP_MEMBER, people.nodes
    return [Look(kind, nodes[who][0], nodes[who], silent_member(them, work.now)) for who, them in found.items()]


def _by_customer(people: People, facts: Sequence[tuple[UUID, Any]]) -> dict[UUID, Collection[Any]]:
    found: dict[UUID, list[Any]] = {}
    for node, fact in facts:
        found.setdefault(people.of(node), []).append(fact)
    return dict(found)
