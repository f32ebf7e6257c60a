"""The histories of customers (`domain/history.py`) out of the tables of facts, for many customers in a few statements."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from services.tagging.domain.dealings import NO_DEALINGS
from services.tagging.domain.history import EVERYTHING, Behaviour, History, Line, Purchase, Reads
from services.tagging.domain.profile import (
    AttributeDefinition,
    AttributeValue,
    Consent,
    FollowUp,
    GroupChange,
    GuideWord,
    agreed,
    attributes_of,
    groups_of,
    guide_of,
)
from services.tagging.read_models import dealings, referrals, settings, sql

_NO_PROPERTIES: Final[Mapping[str, Any]] = MappingProxyType({})
_NODES: Final = (
    "SELECT customer, node, created_at, known_at FROM nodes"
    " WHERE tenant = %s AND customer = ANY(%s) AND NOT erased ORDER BY customer, node"
)
_BEHAVIOURS: Final = (
    "SELECT node, occurred_at, type, category, channel, utc_offset, content, page_view, {properties} FROM behaviours"
    " WHERE tenant = %s AND node = ANY(%s::uuid[]) {those} ORDER BY occurred_at, key"
)
_SOME: Final = "CASE WHEN type = ANY(%s) THEN properties END"
_THOSE: Final = "AND type = ANY(%s)"
_PURCHASES: Final = (
    "SELECT p.node, p.order_id, p.paid_at, p.currency, (p.net - coalesce(sum(r.amount), 0))::bigint, o.lines, o.coupons,"
    " coalesce(sum(r.amount), 0)::bigint"
    " FROM purchases p LEFT JOIN refunds r USING (tenant, node, order_id)"
    " LEFT JOIN placed_orders o USING (tenant, node, order_id)"
    " WHERE p.tenant = %s AND p.node = ANY(%s::uuid[]) AND p.currency = %s"
    " GROUP BY p.tenant, p.node, p.order_id, o.tenant, o.node, o.order_id ORDER BY p.paid_at, p.order_id"
)
_PAID: Final = (
    "SELECT p.node, p.order_id, p.paid_at, p.currency, (p.net - coalesce(sum(r.amount), 0))::bigint, NULL, NULL,"
    " coalesce(sum(r.amount), 0)::bigint"
    " FROM purchases p LEFT JOIN refunds r USING (tenant, node, order_id)"
    " WHERE p.tenant = %s AND p.node = ANY(%s::uuid[]) AND p.currency = %s"
    " GROUP BY p.tenant, p.node, p.order_id ORDER BY p.paid_at, p.order_id"
)
_VALUES: Final = (
    "SELECT node, key, source, rank, value, cleared, observed_at FROM attribute_values"
    " WHERE tenant = %s AND node = ANY(%s::uuid[])"
)
_DEFINITIONS: Final = "SELECT key, type, policy FROM attribute_definitions WHERE tenant = %s"
_CONSENTS: Final = (
    "SELECT node, purpose, channel, state, made_at, beside FROM consents WHERE tenant = %s AND node = ANY(%s::uuid[])"
)
_GUIDES: Final = (
    "SELECT node, said_at, kind, staff, store, beside FROM guide_words WHERE tenant = %s AND node = ANY(%s::uuid[])"
)
_FOLLOW_UPS: Final = "SELECT node, staff, followed_at FROM follow_ups WHERE tenant = %s AND node = ANY(%s::uuid[])"
_GROUPS: Final = (
    "SELECT node, group_id, joined, changed_at FROM group_members WHERE tenant = %s AND node = ANY(%s::uuid[])"
)

_ABOUT: Final[Mapping[str, str]] = {
    "values": _VALUES,
    "consents": _CONSENTS,
    "guides": _GUIDES,
    "follow_ups": _FOLLOW_UPS,
    "groups": _GROUPS,
}
"""What is read of who somebody is, in this order."""

_ByCustomer = Mapping[UUID, list[sql.Row]]


def histories(
    rows: sa.Connection, tenant: str, customers: Collection[UUID], reads: Reads = EVERYTHING
) -> dict[UUID, History]:
    """The history of each of `customers` that is a customer now, with what `reads` says; of orders, those in the currency of the
    tenant."""
    if not customers:
        return {}
    return _Loading(rows, tenant, customers).all(reads)


class _Loading:
    """The rows of some customers by customer, each table read once, all of them together."""

    def __init__(self, rows: sa.Connection, tenant: str, customers: Collection[UUID]) -> None:
        self._rows = rows
        self._tenant = tenant
        first = ((_NODES, tenant, list(customers)), (settings.GET, tenant))
        self._nodes, said = sql.fetch_together(rows, first)
        _, self._currency = settings.said(said)
        self._customer_of: dict[UUID, UUID] = {node: customer for customer, node, *_ in self._nodes}
        self._who = f"{{{','.join(it.hex for it in self._customer_of)}}}"  # written once for all statements

    def all(self, reads: Reads) -> dict[UUID, History]:
        found = self._read(reads)
        behaviours, purchases = found.get("behaviours", {}), found.get("purchases", {})
        created, known = self._first(2), self._first(3)
        who = self._all_about(found) if reads.who else {}
        if reads.referrer:
            self._add_referrers(who)
        dealt = dealings.of_customers(self._rows, self._tenant, self._customer_of) if reads.dealings else {}
        referred = referrals.successes(self._rows, self._tenant, self._customer_of) if reads.referrals else {}
        return {
            it: History(
                customer=it,
                created_at=created.get(it),
                known_since=known.get(it),
                behaviours=[Behaviour._make((*row[1:8], row[8] or _NO_PROPERTIES)) for row in behaviours.get(it, ())],
                purchases=[_purchase(row) for row in purchases.get(it, ())],
                dealings=dealt.get(it, NO_DEALINGS),
                referrals=referred.get(it, ()),
                **who.get(it, {}),
            )
            for it in dict.fromkeys(customer for customer, *_ in self._nodes)
        }

    def _read(self, reads: Reads) -> dict[str, _ByCustomer]:
        """The rows of each table that is looked at."""
        mine = self._tenant, self._who
        questions: dict[str, sql.Question] = {}
        if reads.behaviours_of is None or reads.behaviours_of:
            questions["behaviours"] = self._of_behaviours(reads)
        if reads.orders:
            questions["purchases"] = (_PURCHASES if reads.lines else _PAID, *mine, self._currency)
        if reads.who:
            questions |= {name: (statement, *mine) for name, statement in _ABOUT.items()}
        lists = sql.fetch_together(self._rows, questions.values())
        return {name: self._by_customer(it) for name, it in zip(questions, lists, strict=True)}

    def _of_behaviours(self, reads: Reads) -> sql.Question:
        those, meant = ("", ()) if reads.behaviours_of is None else (_THOSE, (list(reads.behaviours_of),))
        asked: tuple[list[str], ...]
        match reads.properties_of:
            case None:
                inside, asked = "properties", ()
            case types if types:
                inside, asked = _SOME, (list(types),)
            case _:
                inside, asked = "NULL", ()
        return (_BEHAVIOURS.format(properties=inside, those=those), *asked, self._tenant, self._who, *meant)

    def _all_about(self, found: Mapping[str, _ByCustomer]) -> dict[UUID, dict[str, Any]]:
        """By customer, what is known of it beside what it did, under the names that a history has for it."""
        values, consents, guides, follow_ups, groups = (found[it] for it in _ABOUT)
        definitions = definitions_of(self._rows, self._tenant) if values else {}
        return {
            it: {
                "attributes": attributes_of((AttributeValue(*row) for row in values.get(it, ())), definitions),
                "relations": _relations(guides.get(it, ()), follow_ups.get(it, ())),
                "groups": groups_of(GroupChange(*row) for row in groups.get(it, ())),
                "consents": agreed([Consent(*row) for row in consents.get(it, ())]),
            }
            for it in {*values, *consents, *guides, *follow_ups, *groups}
        }

    def _add_referrers(self, who: dict[UUID, dict[str, Any]]) -> None:
        found = referrals.referrer_of(self._rows, self._tenant, {it[0] for it in self._nodes})
        for customer, referrer in found.items():
            about = who.setdefault(customer, {})
            about["relations"] = about.get("relations", {}) | {"referrer": str(referrer)}

    def _by_customer(self, listed: Iterable[sql.Row]) -> _ByCustomer:
        found: defaultdict[UUID, list[sql.Row]] = defaultdict(list)
        customer_of = self._customer_of
        for row in listed:
            found[customer_of[row[0]]].append(row)
        return found

    def _first(self, column: int) -> dict[UUID, datetime]:
        """The earliest instant of each customer in a column of its nodes."""
        found: dict[UUID, datetime] = {}
        for row in self._nodes:
            at = row[column]
            if at is not None and (row[0] not in found or at < found[row[0]]):
                found[row[0]] = at
        return found


def definitions_of(rows: sa.Connection, tenant: str) -> dict[str, AttributeDefinition]:
    """The attributes that the tenant defined itself."""
    return {row[0]: AttributeDefinition(*row) for row in sql.fetch(rows, _DEFINITIONS, tenant)}


def _purchase(row: sql.Row) -> Purchase:
    _, order, at, currency, net, lines, coupons, returned = row
    return Purchase(order, at, currency, net, tuple(Line(*it) for it in lines or ()), coupons or 0, returned)


def _relations(words: Iterable[sql.Row], follow_ups: Iterable[sql.Row]) -> dict[str, str]:
    guide = guide_of((GuideWord(*row) for row in words), (FollowUp(*row) for row in follow_ups))
    if guide is None:
        return {}
    staff, store = guide
    return {"guide": str(staff)} | ({"store": str(store)} if store else {})
