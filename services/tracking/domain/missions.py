"""Shopping missions (TR-10): the purchase path of a customer cut into what belongs together, from facts in any order of arrival.

A mission opens with the first step in a category when none is open, and ends with a payment, with the cancellation of its last
order, or when seven days pass without a step. It is worked out from the facts of all nodes of the customer, so that a late fact, a
merge, or a merge taken back give the missions which the same facts in their right order give.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Final, NamedTuple
from uuid import UUID

from chassis.aggregate import natural_id
from services.tracking.domain.path_facts import UNKNOWN, OrderFact, PathFact, Place, Step

IDLE: Final = timedelta(days=7)
HESITATION: Final = timedelta(minutes=30)
AFTERWARDS: Final = timedelta(days=90)
"""For how long reviews and purchases are still about a mission that was realised."""
ANYWHERE: Final = ""
_PLACE: Final = attrgetter("place")
_PLACED, _HESITATED, _PAID, _RECEIVED = (
    f"{it.rank:02}" for it in (Step.PLACE_ORDER, Step.HESITATE, Step.PAY, Step.RECEIVE)
)


class Result(StrEnum):
    """How a mission ended."""

    OPEN = "OPEN"
    REALISED = "REALISED"
    CANCELLED = "CANCELLED"
    ABANDONED = "ABANDONED"


class NeedState(StrEnum):
    """How well the customer knew what was wanted.

    CLEAR: looked for a brand or for something saved or bought before, or began with a favourite, a cart or an order. NONE:
    only browsed. EMERGING: everything between, such as reading about the category first.
    """

    NONE = "NONE"
    EMERGING = "EMERGING"
    CLEAR = "CLEAR"


class Visit(NamedTuple):
    """One step at one time; `key` names the fact behind it, `node` whose fact it is."""

    at: datetime
    step: Step
    key: str
    node: UUID
    sku: str = ""
    order_id: UUID | None = None


@dataclass(slots=True)
class Mission:
    """One mission; `clear` if its first step already says what is wanted, `closed_at` is None while it is open."""

    category: str
    clear: bool
    visits: list[Visit] = field(default_factory=list)
    result: Result = Result.OPEN
    closed_at: datetime | None = None

    @property
    def opening(self) -> Visit:
        return self.visits[0]

    @property
    def need_state(self) -> NeedState:
        if self.clear or self.opening.step.rank >= Step.FAVOURITE.rank:
            return NeedState.CLEAR
        if all(it.step is Step.BROWSE for it in self.visits):
            return NeedState.NONE
        return NeedState.EMERGING

    @property
    def idle_at(self) -> datetime:
        """When it is abandoned if nothing more happens."""
        return self.visits[-1].at + IDLE

    def id(self, tenant: str) -> UUID:
        """That of the fact which opened it, in its category."""
        return natural_id(tenant, "mission", self.category, self.opening.key)

    def close(self, result: Result, at: datetime) -> None:
        self.result, self.closed_at = result, at

    def is_after(self, at: datetime) -> bool:
        """Whether `at` is within the time in which something may still be about this realised mission."""
        return self.closed_at is not None and self.closed_at <= at <= self.closed_at + AFTERWARDS


class _Move(NamedTuple):
    """What happens to the missions of a category: a visit, or the end of an order."""

    place: Place
    visit: Visit
    clear: bool = False
    cancels: bool = False


def missions(
    facts: Iterable[PathFact], orders: Iterable[OrderFact], now: datetime, since: datetime | None = None
) -> list[Mission]:
    """The missions of one customer as of `now`, by category and time; `facts` and `orders` are those of all nodes.

    With `since`, at which no mission is open and no order under way, those that began by then are left out.
    """
    known, sold = sorted(facts, key=_PLACE), list(orders)
    categories = categories_of_skus(known, sold)
    recent = sold if since is None else [it for it in sold if it.placed_at >= since]
    moves: defaultdict[str, list[_Move]] = defaultdict(list)
    for category, move in (*_browsing(known, sold, categories), *_ordering(recent, categories, now)):
        if since is None or move.visit.at >= since:
            moves[category].append(move)
    anywhere = moves.pop(ANYWHERE, [])
    found: list[Mission] = []
    for category, theirs in sorted(moves.items()):
        theirs.sort(key=_PLACE)
        found += _Cutting(category).cut(theirs, now)
    _attach(anywhere, found)
    return found


def categories_of_skus(facts: Iterable[PathFact], orders: Iterable[OrderFact]) -> Mapping[str, str]:
    """The category of each SKU of which the customer's own facts name one; of several the first by name."""
    named = {(it.sku, it.category) for it in facts} | {line for it in orders for line in it.lines}
    return {sku: category for sku, category in sorted(named, reverse=True) if sku and category}


def categories_of(order: OrderFact, categories: Mapping[str, str]) -> Collection[str]:
    """The categories that an order has lines in, by those of SKUs."""
    return {named or categories.get(sku) or UNKNOWN for sku, named in order.lines} or (UNKNOWN,)


def _browsing(
    facts: Sequence[PathFact], orders: Sequence[OrderFact], categories: Mapping[str, str]
) -> Iterator[tuple[str, _Move]]:
    """The steps that behaviours are; a review of nobody knows what may be about any category."""
    bought = {(sku, it.paid_at) for it in orders if it.paid_at for sku, _ in it.lines}
    wanted = dict(sorted(bought, reverse=True))  # of several times the first comes last, and stays
    for it in facts:
        category = it.category or categories.get(it.sku) or (ANYWHERE if it.step is Step.REVIEW else UNKNOWN)
        known_thing = it.step is Step.VIEW_PRODUCT and it.sku in wanted and wanted[it.sku] < it.at
        if it.step is Step.FAVOURITE:
            wanted[it.sku] = min(it.at, wanted.get(it.sku, it.at))
        visit = Visit(it.at, it.step, it.key, it.node, it.sku)
        yield category, _Move(it.place, visit, known_thing or it.brand_search)


def _ordering(orders: Sequence[OrderFact], categories: Mapping[str, str], now: datetime) -> Iterator[tuple[str, _Move]]:
    """The steps that orders are, in each category that they have lines in."""
    for it in orders:
        moves = [_Move((visit.at, visit.at, visit.key), visit) for visit in _steps(it, now)]
        if it.given_up_at:
            end = Visit(it.given_up_at, Step.PLACE_ORDER, f"order/{it.id}/end", it.node, order_id=it.id)
            moves.append(_Move((end.at, end.at, end.key), end, cancels=True))
        for category in categories_of(it, categories):
            for move in moves:
                yield category, move


def _steps(order: OrderFact, now: datetime) -> Iterator[Visit]:
    """An order that is unpaid for half an hour is hesitated about; clocks of shops may be minutes apart."""
    node, id, key = order.node, order.id, f"order/{order.id}/"
    placed = min(order.placed_at, order.paid_at or order.placed_at)
    yield Visit(placed, Step.PLACE_ORDER, key + _PLACED, node, "", id)
    decided = order.paid_at or order.given_up_at or now + HESITATION
    if placed + HESITATION <= min(decided, now):
        yield Visit(placed + HESITATION, Step.HESITATE, key + _HESITATED, node, "", id)
    if order.paid_at:
        yield Visit(order.paid_at, Step.PAY, key + _PAID, node, "", id)
    if order.received_at:
        yield Visit(order.received_at, Step.RECEIVE, key + _RECEIVED, node, "", id)


def _attach(moves: Sequence[_Move], found: Sequence[Mission]) -> None:
    """Reviews that name no product are about the last mission realised before them."""
    realised = [it for it in found if it.result is Result.REALISED]
    for move in sorted(moves, key=_PLACE):
        at = move.visit.at
        about = max(
            (it for it in realised if it.is_after(at)), key=lambda it: (it.closed_at or at, it.category), default=None
        )
        if about:
            about.visits.append(move.visit)
            about.visits.sort(key=lambda it: it.at)


class _Cutting:
    """Takes what happens in one category in its order and cuts it into missions."""

    def __init__(self, category: str) -> None:
        self._category = category
        self._missions: list[Mission] = []
        self._open: Mission | None = None
        self._realised: Mission | None = None
        self._holders: dict[UUID | None, Mission] = {}
        self._unpaid: set[UUID | None] = set()

    def cut(self, moves: Sequence[_Move], now: datetime) -> list[Mission]:
        for move in moves:
            self._expire(move.visit.at)
            if move.cancels:
                self._cancel(move.visit)
            else:
                self._take(move)
        self._expire(now)
        return self._missions

    def _expire(self, at: datetime) -> None:
        if self._open and at >= self._open.idle_at:
            self._open.close(Result.ABANDONED, self._open.idle_at)
            self._open = None

    def _take(self, move: _Move) -> None:
        visit = move.visit
        match visit.step:
            case Step.PAY:
                self._pay(visit)
            case Step.RECEIVE:
                if holder := self._holders.get(visit.order_id):
                    holder.visits.append(visit)
            case Step.HESITATE:
                if self._open and self._holders.get(visit.order_id) is self._open:
                    self._open.visits.append(visit)
            case Step.REVIEW:
                if self._realised and self._realised.is_after(visit.at):
                    self._realised.visits.append(visit)
            case _:
                self._step(visit, clear=move.clear)

    def _step(self, visit: Visit, *, clear: bool = False) -> Mission:
        """A step of the open mission, which it opens if there is none."""
        if self._open is None:
            self._open = Mission(self._category, clear)
            self._missions.append(self._open)
            self._unpaid.clear()
        self._open.visits.append(visit)
        if visit.step is Step.PLACE_ORDER:
            self._holders[visit.order_id] = self._open
            self._unpaid.add(visit.order_id)
        return self._open

    def _pay(self, visit: Visit) -> None:
        """Realise the open mission; what a mission has paid for once more after its end belongs to it all the same."""
        holder = self._holders.get(visit.order_id)
        if holder is not None and holder is self._realised:
            holder.visits.append(visit)
            return
        if self._open is None or holder is not self._open:
            placed = Visit(visit.at, Step.PLACE_ORDER, visit.key, visit.node, order_id=visit.order_id)
            holder = self._step(placed)
        if self._realised and self._realised.is_after(visit.at):
            again = Visit(visit.at, Step.REPURCHASE, visit.key, visit.node, order_id=visit.order_id)
            self._realised.visits.append(again)
        holder.visits.append(visit)
        holder.close(Result.REALISED, visit.at)
        self._realised, self._open = holder, None

    def _cancel(self, visit: Visit) -> None:
        """An order was given up: so is its mission, if no other order of it waits for its payment."""
        if self._open is None or self._holders.get(visit.order_id) is not self._open:
            return
        self._unpaid.discard(visit.order_id)
        if not self._unpaid:
            self._open.close(Result.CANCELLED, visit.at)
            self._open = None
