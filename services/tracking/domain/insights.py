"""What a customer's behaviour says without words (TR-12): detectors over facts, and each insight told once in 90 days.

Each detector gives its findings as of an instant, and where only the clock is missing, when to look again.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tracking.domain.path_facts import OrderFact, PathFact, Step, text_property
from services.tracking.domain.purchases import cycle, midnight, months_later, occasions
from services.tracking.domain.trail import Behaviour, Trail

QUIET: Final = timedelta(days=90)
OPENS: Final = 4
DWELL_SECONDS: Final = 1200
SKU_OCCASIONS: Final = 6
STOPPED_MONTHS: Final = 3
IN_CART: Final = timedelta(days=2)
SILENT: Final = timedelta(days=30)

TOOK_PART: Final = frozenset({"group_message_sent", "activity_joined", "checkin", "link_clicked"})
GROUP_TYPES: Final = tuple(sorted({"group_joined", "group_left", *TOOK_PART}))
READING_TYPES: Final = ("content_engaged", "content_left", "content_viewed", "registered")


class Kind(StrEnum):
    """What is noticed."""

    REPEAT_READER_UNREGISTERED = "REPEAT_READER_UNREGISTERED"
    REPURCHASE_STOPPED = "REPURCHASE_STOPPED"
    SILENT_GROUP_MEMBER = "SILENT_GROUP_MEMBER"
    CART_FORGOTTEN = "CART_FORGOTTEN"
    CHURN_RISK = "CHURN_RISK"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something noticed about `subject` (a content, SKU, group or nothing), at the node whose fact it rests on."""

    kind: Kind
    node: UUID
    subject: str = ""
    evidence: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Review:
    """What is found, and when to look again because only time is missing."""

    findings: tuple[Finding, ...] = ()
    again: tuple[datetime, ...] = ()


class Insight(Aggregate):
    """All that was noticed of one kind about one subject of one node."""

    TOPIC = "tracking.Insight"

    class Detected(InitialEvent):
        """It was noticed for the first time."""

        TOPIC = "tracking.InsightDetected"
        tenant: str
        node: UUID
        kind: Kind
        subject: str
        evidence: dict[str, str]
        detected_at: datetime

    class DetectedAgain(Event):
        """It is so again, or still."""

        TOPIC = "tracking.InsightDetectedAgain"
        node: UUID
        kind: Kind
        subject: str
        evidence: dict[str, str]
        detected_at: datetime

    @event(Detected)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        node: UUID,
        kind: Kind,
        subject: str,
        evidence: dict[str, str],
        detected_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.node = node
        self.kind = kind
        self.subject = subject
        self.detected_at = detected_at

    def is_fresh(self, now: datetime) -> bool:
        """Whether it was told so recently that it is not told again."""
        return now - self.detected_at < QUIET

    def repeat(self, evidence: Mapping[str, str], at: datetime) -> None:
        self._repeated(self.node, self.kind, self.subject, dict(evidence), at)

    @event(DetectedAgain)
    def _repeated(self, node: UUID, kind: Kind, subject: str, evidence: dict[str, str], detected_at: datetime) -> None:
        self.detected_at = detected_at


def insight_key(tenant: str, node: UUID, finding: Finding) -> UUID:
    """The id under which a finding of a customer is kept at one of the customer's nodes."""
    return natural_id(tenant, "insight", node, finding.kind, finding.subject)


def repeat_reader(behaviours: Iterable[Behaviour]) -> Review:
    """D1: a content opened at least four times for more than 20 minutes in all, without having registered before the last time.

    `behaviours` are those of READING_TYPES of all nodes.
    """
    known = sorted(behaviours, key=lambda it: it.place)
    registered = min((it.occurred_at for it in known if it.event_type == "registered"), default=None)
    views = {it.content_id: it.node for it in known if it.event_type == "content_viewed"}
    findings = tuple(
        Finding(
            Kind.REPEAT_READER_UNREGISTERED,
            views[content],
            content,
            {"opens": str(it.opens), "dwell_seconds": str(it.dwell_seconds)},
        )
        for content, it in sorted(Trail(known).engagement().items())
        if content
        and it.opens >= OPENS
        and it.dwell_seconds > DWELL_SECONDS
        and (registered is None or it.last_open is None or registered >= it.last_open)
    )
    return Review(findings)


def repurchase_stopped(orders: Sequence[OrderFact], now: datetime) -> Review:
    """D2: a SKU bought on more than five days, and not for three calendar months since."""
    if len(orders) < SKU_OCCASIONS:
        return Review()
    findings: list[Finding] = []
    again: list[datetime] = []
    for sku in sorted({line for it in orders for line, _ in it.lines if line}):
        days = occasions(orders, sku)
        if len(days) < SKU_OCCASIONS:
            continue
        due = midnight(months_later(days[-1], STOPPED_MONTHS))
        if now < due:
            again.append(due)
            continue
        evidence = {"occasions": str(len(days)), "last_bought_on": days[-1].isoformat()}
        findings.append(Finding(Kind.REPURCHASE_STOPPED, _buyer(orders, sku), sku, evidence))
    return Review(tuple(findings), tuple(again))


def silent_member(behaviours: Iterable[Behaviour], now: datetime) -> Review:
    """D3: in a group for 30 days without taking part once; joining again starts the time anew.

    `behaviours` are those of GROUP_TYPES of all nodes; only what names its group is part in it.
    """
    since: dict[str, Behaviour] = {}
    for it in sorted(behaviours, key=lambda it: it.place):
        group = text_property(it, "group_id")
        if it.event_type == "group_joined":
            since[group] = it
        else:
            since.pop(group, None)
    since.pop("", None)
    due = {group: it.occurred_at + SILENT for group, it in since.items()}
    findings = [
        Finding(Kind.SILENT_GROUP_MEMBER, it.node, group, {"joined_at": it.occurred_at.isoformat()})
        for group, it in sorted(since.items())
        if due[group] <= now
    ]
    return Review(tuple(findings), tuple(sorted(it for it in due.values() if it > now)))


def cart_forgotten(
    facts: Iterable[PathFact], removed: Mapping[str, datetime], orders: Sequence[OrderFact], now: datetime
) -> Review:
    """D4: something in the cart for two days that was looked at again meanwhile and is neither ordered nor `removed` since."""
    added: dict[str, PathFact] = {}
    seen: dict[str, datetime] = {}
    for it in sorted(facts, key=lambda it: it.place):
        if it.step is Step.ADD_TO_CART:
            added.setdefault(it.sku, it)
            if _gone(it.sku, added[it.sku].at, it.at, removed, orders):
                added[it.sku] = it
        elif it.step is Step.VIEW_PRODUCT:
            seen[it.sku] = it.at
    waiting = {
        sku: it
        for sku, it in added.items()
        if seen.get(sku, it.at) > it.at and not _gone(sku, it.at, now, removed, orders)
    }
    findings = [
        Finding(Kind.CART_FORGOTTEN, it.node, sku, {"added_at": it.at.isoformat()})
        for sku, it in sorted(waiting.items())
        if it.at + IN_CART <= now
    ]
    return Review(tuple(findings), tuple(sorted(it.at + IN_CART for it in waiting.values() if it.at + IN_CART > now)))


def churn_risk(orders: Sequence[OrderFact], now: datetime) -> Review:
    """D6: twice the purchase cycle is over since the last of at least three occasions."""
    days = occasions(orders)
    rhythm = cycle(days)
    if rhythm is None:
        return Review()
    due = midnight(days[-1]) + 2 * rhythm
    if now <= due:
        return Review(again=(due + timedelta(microseconds=1),))
    evidence = {"last_bought_on": days[-1].isoformat(), "cycle_days": f"{rhythm / timedelta(days=1):g}"}
    return Review((Finding(Kind.CHURN_RISK, _buyer(orders, ""), "", evidence),))


def _gone(
    sku: str, since: datetime, until: datetime, removed: Mapping[str, datetime], orders: Sequence[OrderFact]
) -> bool:
    """Whether it left the cart after `since`, up to `until`."""
    taken_out = removed.get(sku)
    if taken_out is not None and since <= taken_out <= until:
        return True
    return any(since <= it.placed_at <= until and any(sku == line for line, _ in it.lines) for it in orders)


def _buyer(orders: Sequence[OrderFact], sku: str) -> UUID:
    """The node that paid last, of those who bought `sku` if one is given."""
    paid = [it for it in orders if it.paid_at and (not sku or any(sku == line for line, _ in it.lines))]
    return max(paid, key=lambda it: (it.paid_at, it.id)).node
