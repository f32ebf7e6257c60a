"""The histories of customers (`domain/history.py`) out of the tables of facts, for many customers in a few statements."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from services.tagging.domain.dealings import NO_DEALINGS
from services.tagging.domain.history import Behaviour, History, Line, Purchase
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
from services.tagging.read_models import dealings, settings, sql

_NODES: Final = (
    "SELECT customer, node, created_at, known_at FROM nodes"
    " WHERE tenant = %s AND customer = ANY(%s) AND NOT erased ORDER BY customer, node"
)
_BEHAVIOURS: Final = (
    "SELECT node, occurred_at, type, category, channel, utc_offset, content, page_view, properties FROM behaviours"
    " WHERE tenant = %s AND node = ANY(%s) ORDER BY occurred_at, key"
)
_PURCHASES: Final = (
    "SELECT p.node, p.order_id, p.paid_at, p.currency, (p.net - coalesce(sum(r.amount), 0))::bigint, o.lines, o.coupons"
    " FROM purchases p LEFT JOIN refunds r USING (tenant, node, order_id)"
    " LEFT JOIN placed_orders o USING (tenant, node, order_id)"
    " WHERE p.tenant = %s AND p.node = ANY(%s) AND p.currency = %s"
    " GROUP BY p.tenant, p.node, p.order_id, o.tenant, o.node, o.order_id ORDER BY p.paid_at, p.order_id"
)
_VALUES: Final = (
    "SELECT node, key, source, rank, value, cleared, observed_at FROM attribute_values"
    " WHERE tenant = %s AND node = ANY(%s)"
)
_DEFINITIONS: Final = "SELECT key, type, policy FROM attribute_definitions WHERE tenant = %s"
_CONSENTS: Final = (
    "SELECT node, purpose, channel, state, made_at, beside FROM consents WHERE tenant = %s AND node = ANY(%s)"
)
_GUIDES: Final = (
    "SELECT node, said_at, kind, staff, store, beside FROM guide_words WHERE tenant = %s AND node = ANY(%s)"
)
_FOLLOW_UPS: Final = "SELECT node, staff, followed_at FROM follow_ups WHERE tenant = %s AND node = ANY(%s)"
_GROUPS: Final = "SELECT node, group_id, joined, changed_at FROM group_members WHERE tenant = %s AND node = ANY(%s)"


def histories(
    rows: sa.Connection, tenant: str, customers: Collection[UUID], *, with_dealings: bool = True
) -> dict[UUID, History]:
    """The history of each of `customers` that is a customer now; of orders, those in the currency of the tenant.

    Without dealings, which few ask for, some queries are saved.
    """
    if not customers:
        return {}
    return _Loading(rows, tenant, customers).all(with_dealings)


class _Loading:
    """The rows of some customers by customer, each table read once."""

    def __init__(self, rows: sa.Connection, tenant: str, customers: Collection[UUID]) -> None:
        self._rows = rows
        self._tenant = tenant
        self._nodes = sql.fetch(rows, _NODES, tenant, list(customers))
        self._customer_of: dict[UUID, UUID] = {node: customer for customer, node, *_ in self._nodes}

    def all(self, with_dealings: bool) -> dict[UUID, History]:
        behaviours = self._by_customer(_BEHAVIOURS)
        _, currency = settings.get(self._rows, self._tenant)
        purchases = self._by_customer(_PURCHASES, currency)
        values, consents = self._by_customer(_VALUES), self._by_customer(_CONSENTS)
        guides, follow_ups = self._by_customer(_GUIDES), self._by_customer(_FOLLOW_UPS)
        groups = self._by_customer(_GROUPS)
        definitions = definitions_of(self._rows, self._tenant) if values else {}
        dealt = dealings.of_customers(self._rows, self._tenant, self._customer_of) if with_dealings else {}
        created, known = self._first(2), self._first(3)
        return {
            it: History(
                customer=it,
                created_at=created.get(it),
                known_since=known.get(it),
                behaviours=[Behaviour(*row[1:]) for row in behaviours.get(it, ())],
                purchases=[_purchase(row) for row in purchases.get(it, ())],
                attributes=attributes_of((AttributeValue(*row) for row in values.get(it, ())), definitions),
                relations=_relations(guides.get(it, ()), follow_ups.get(it, ())),
                groups=groups_of(GroupChange(*row) for row in groups.get(it, ())),
                consents=agreed([Consent(*row) for row in consents.get(it, ())]),
                dealings=dealt.get(it, NO_DEALINGS),
            )
            for it in dict.fromkeys(customer for customer, *_ in self._nodes)
        }

    def _by_customer(self, statement: str, *parameters: str) -> Mapping[UUID, list[sql.Row]]:
        found: defaultdict[UUID, list[sql.Row]] = defaultdict(list)
        for row in sql.fetch(self._rows, statement, self._tenant, list(self._customer_of), *parameters):
            found[self._customer_of[row[0]]].append(row)
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
    _, order, at, currency, net, lines, coupons = row
    return Purchase(order, at, currency, net, tuple(Line(*it) for it in lines or ()), coupons or 0)


def _relations(words: Iterable[sql.Row], follow_ups: Iterable[sql.Row]) -> dict[str, str]:
    guide = guide_of((GuideWord(*row) for row in words), (FollowUp(*row) for row in follow_ups))
    if guide is None:
        return {}
    staff, store = guide
    return {"guide": str(staff)} | ({"store": str(store)} if store else {})
