"""Histories for tests of models: facts some days ago, at noon."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid5

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.history import Behaviour, History, Line, Purchase
from services.tagging.domain.layers.kinds import Kind, state

CALENDAR = Calendar.of("Asia/Shanghai")
NOW = datetime(2025, 6, 1, 4, tzinfo=UTC)
WHO = UUID(int=1)

LETTERS = {
    "content_viewed": "I",
    "product_viewed": "I",
    "favourite_added": "N",
    "cart_added": "N",
    "checkout_started": "N",
    "consult_started": "N",
    "coupon_claimed": "N",
    "content_shared": "S",
    "review_submitted": "S",
    "oa_subscribed": "C",
    "group_joined": "C",
    "form_submitted": "C",
    "survey_answered": "V",
    "ad_exposed": "P",
    "competitor_purchase_reported": "",
}


def ago(days: float) -> datetime:
    return NOW - timedelta(days)


def did(kind: str, days: float, channel: str = "h5", page: str = "", **properties: Any) -> Behaviour:
    """Something done `days` ago."""
    return Behaviour(ago(days), kind, LETTERS.get(kind, "I"), channel, None, "", page, properties)


def read(seconds: int, days: float, **properties: Any) -> list[Behaviour]:
    """A page opened and read for `seconds` (5, 15, 25 …)."""
    page = f"page {days}"
    buckets = list(range((seconds + 5) // 10))
    return [
        did("content_viewed", days, page=page, **properties),
        did("content_engaged", days, page=page, active_buckets=buckets, wall_ms=seconds * 1000),
    ]


def bought(days: float, *lines: Line, net: int = 10_000, coupons: int = 0) -> Purchase:
    return Purchase(uuid5(WHO, f"{days} {net}"), ago(days), "CNY", net, lines, coupons)


def line(category: str, quantity: int = 1, *, listed: int = 10_000, paid: int = 10_000) -> Line:
    return Line(f"sku of {category}", category, "", quantity, listed, paid)


def history(*facts: Behaviour | Purchase, known: float | None = None, **attributes: Any) -> History:
    return History(
        WHO,
        known_since=None if known is None else ago(known),
        behaviours=sorted((it for it in facts if isinstance(it, Behaviour)), key=lambda it: it.at),
        purchases=sorted((it for it in facts if isinstance(it, Purchase)), key=lambda it: it.at),
        attributes=attributes,
    )


def layer(kind: Kind, params: Any, *facts: Behaviour | Purchase, at: datetime = NOW) -> str:
    return state(kind, history(*facts), params, CALENDAR, at)


def at_random(random: Random, most: int = 14, days: int = 900) -> History:
    """Anything a customer may have done."""
    facts: list[Behaviour | Purchase] = []
    kinds: Sequence[str] = [*LETTERS, "content_engaged", "custom.referral_succeeded", "livestream_entered", "checkin"]
    for _ in range(random.randint(0, most)):
        when = random.choice((random.uniform(0, days), random.uniform(0, 40)))
        category = random.choice("AB")
        if random.random() < 0.3:
            amount = random.choice((100, 9_000))
            facts.append(bought(when, line(category, paid=amount, listed=10_000), coupons=random.randint(0, 1)))
        else:
            kind, page = random.choice(kinds), random.choice(("p1", "p2"))
            channel = random.choice(("oa", "h5", "mini_program", "store", "community"))
            score = random.randint(1, 5)
            facts.append(did(kind, when, channel, page, category=category, score=score, active_buckets=4, host="h"))
    known = random.choice((None, random.uniform(0, days)))
    return history(*facts, known=known, koc=random.random() < 0.1)
