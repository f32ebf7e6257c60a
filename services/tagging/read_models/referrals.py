"""Who brought whom, out of the tables of facts (`domain/referrals.py`): nothing of it is kept, so that it is right whatever is told when.

Two small indexes lead there: of registrations by their code and by their node. Where nobody has a code, all of it costs one query.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from services.tagging.domain.referrals import Referee, Referral, ReferralCount, Registration
from services.tagging.read_models import settings, sql

_CODES: Final = (
    "SELECT DISTINCT node, value FROM attribute_values"
    " WHERE tenant = %s AND key = 'referral_code' AND NOT cleared AND node = ANY(%s)"
)
_HOLDERS: Final = (
    "SELECT DISTINCT a.value, n.customer FROM attribute_values a JOIN nodes n ON (n.tenant, n.node) = (a.tenant, a.node)"
    " WHERE a.tenant = %s AND a.key = 'referral_code' AND NOT a.cleared AND a.value = ANY(%s) AND NOT n.erased"
)
_HOLDING: Final = (
    "SELECT count(DISTINCT n.customer) FROM attribute_values a JOIN nodes n ON (n.tenant, n.node) = (a.tenant, a.node)"
    " WHERE a.tenant = %s AND a.key = 'referral_code' AND NOT a.cleared AND NOT n.erased"
)
_NAMING: Final = (
    "SELECT DISTINCT n.customer FROM behaviours b JOIN nodes n ON (n.tenant, n.node) = (b.tenant, b.node)"
    " WHERE b.tenant = %s AND b.type = 'referral_registered' AND b.properties ->> 'referrer_code' = ANY(%s) AND NOT n.erased"
)
_REGISTERED: Final = (
    "SELECT DISTINCT n.customer FROM behaviours b JOIN nodes n ON (n.tenant, n.node) = (b.tenant, b.node)"
    " WHERE b.tenant = %s AND b.type = 'referral_registered' AND NOT n.erased"
)
_REGISTRATIONS: Final = (
    "SELECT n.customer, b.occurred_at, coalesce(b.properties ->> 'referrer_code', '')"
    " FROM nodes n JOIN behaviours b ON (b.tenant, b.node) = (n.tenant, n.node)"
    " WHERE n.tenant = %s AND n.customer = ANY(%s) AND b.type = 'referral_registered'"
)
_PAID: Final = (
    "SELECT n.customer, p.paid_at FROM nodes n JOIN purchases p ON (p.tenant, p.node) = (n.tenant, n.node)"
    " LEFT JOIN refunds r ON (r.tenant, r.node, r.order_id) = (p.tenant, p.node, p.order_id)"
    " WHERE n.tenant = %s AND n.customer = ANY(%s) AND p.currency = %s"
    " GROUP BY n.customer, p.tenant, p.node, p.order_id HAVING p.net > coalesce(sum(r.amount), 0)"
)
_KNOWN: Final = "SELECT customer, min(known_at) FROM nodes WHERE tenant = %s AND customer = ANY(%s) AND NOT erased GROUP BY customer"
_REFERRERS: Final = (
    "SELECT DISTINCT c.node, c.ordinal FROM nodes n"
    " JOIN behaviours b ON (b.tenant, b.node) = (n.tenant, n.node) AND b.type = 'referral_registered'"
    " JOIN attribute_values a ON a.tenant = b.tenant AND a.key = 'referral_code' AND a.value = b.properties ->> 'referrer_code'"
    " JOIN nodes h ON (h.tenant, h.node) = (a.tenant, a.node) AND NOT h.erased"
    " JOIN nodes c ON (c.tenant, c.node) = (h.tenant, h.customer)"
    " WHERE n.tenant = %s AND n.customer = ANY(%s)"
)
_REFEREES: Final = (
    "SELECT DISTINCT c.ordinal FROM nodes g JOIN nodes h ON (h.tenant, h.customer) = (g.tenant, g.customer) AND NOT h.erased"
    " JOIN attribute_values a ON (a.tenant, a.node) = (h.tenant, h.node) AND a.key = 'referral_code'"
    " JOIN behaviours b ON b.tenant = a.tenant AND b.type = 'referral_registered' AND b.properties ->> 'referrer_code' = a.value"
    " JOIN nodes n ON (n.tenant, n.node) = (b.tenant, b.node) AND NOT n.erased"
    " JOIN nodes c ON (c.tenant, c.node) = (n.tenant, n.customer)"
    " WHERE g.tenant = %s AND g.node = ANY(%s)"
)
_SHARED: Final = (
    "SELECT DISTINCT n.customer FROM behaviours b JOIN nodes n ON (n.tenant, n.node) = (b.tenant, b.node)"
    " WHERE b.tenant = %s AND b.type IN ('content_shared', 'content_forwarded') AND NOT n.erased"
)


def successes(rows: sa.Connection, tenant: str, customer_of: Mapping[UUID, UUID]) -> dict[UUID, list[datetime]]:
    """When referrals of customers, given by their nodes, succeeded, in order; only of those of whom any did."""
    codes: defaultdict[str, set[UUID]] = defaultdict(set)
    for node, code in sql.fetch(rows, _CODES, tenant, list(customer_of)):
        codes[code].add(customer_of[node])
    if not codes:
        return {}
    named = [it for (it,) in sql.fetch(rows, _NAMING, tenant, list(codes))]
    found: defaultdict[UUID, list[datetime]] = defaultdict(list)
    for it in _referrals(_referees(rows, tenant, named), codes):
        if it.succeeded_at is not None:
            found[it.referrer].append(it.succeeded_at)
    return {who: sorted(instants) for who, instants in found.items()}


def referrers(rows: sa.Connection, tenant: str, customers: Collection[UUID]) -> dict[UUID, int]:
    """The customers whose codes any of `customers` ever named, with their ordinals."""
    return dict(sql.fetch(rows, _REFERRERS, tenant, list(customers)))


def referees(rows: sa.Connection, tenant: str, nodes: Collection[UUID]) -> list[int]:
    """The ordinals of the customers who named a code of the customers with these nodes."""
    return [ordinal for (ordinal,) in sql.fetch(rows, _REFEREES, tenant, list(nodes))] if nodes else []


def referrer_of(rows: sa.Connection, tenant: str, customers: Collection[UUID]) -> dict[UUID, UUID]:
    """Who referred whom of `customers`; if several have the code that was named, the one with the least id."""
    found = _referees(rows, tenant, customers)
    codes = sorted({it.first.code for it in found if it.is_new})
    holders: defaultdict[str, set[UUID]] = defaultdict(set)
    for code, customer in sql.fetch(rows, _HOLDERS, tenant, codes) if codes else ():
        holders[code].add(customer)
    result: dict[UUID, UUID] = {}
    for it in _referrals(found, holders):
        result[it.referee] = min(it.referrer, result.get(it.referee, it.referrer))
    return result


def registered(rows: sa.Connection, tenant: str, customers: Collection[UUID] | None = None) -> list[UUID]:
    """The customers who registered because of somebody: of all, or of these."""
    if customers is None:
        return [it for (it,) in sql.fetch(rows, _REGISTERED, tenant)]
    return list({it for it, *_ in sql.fetch(rows, _REGISTRATIONS, tenant, list(customers))} if customers else ())


def counted(rows: sa.Connection, tenant: str) -> ReferralCount:
    """How far customers tell others, by all that is known now."""
    found = _referees(rows, tenant, registered(rows, tenant))
    codes: defaultdict[str, set[UUID]] = defaultdict(set)
    for code, customer in sql.fetch(rows, _HOLDERS, tenant, sorted({it.first.code for it in found})):
        codes[code].add(customer)
    referrals = list(_referrals(found, codes))
    named = {it.referrer for it in referrals}
    won = [it for it in referrals if it.succeeded_at is not None]
    ((holders,),) = sql.fetch(rows, _HOLDING, tenant)
    return ReferralCount(
        holders=holders,
        sharers=len(named.union(who for (who,) in sql.fetch(rows, _SHARED, tenant))),
        named=len(named),
        invited=len({it.referee for it in referrals}),
        converted=len({it.referee for it in won}),
        referrers=dict(sorted(Counter(Counter(it.referrer for it in won).values()).items())),
    )


def _referees(rows: sa.Connection, tenant: str, customers: Collection[UUID]) -> list[Referee]:
    """Those of `customers` who registered because of somebody."""
    if not customers:
        return []
    registrations: defaultdict[UUID, list[Registration]] = defaultdict(list)
    for customer, at, code in sql.fetch(rows, _REGISTRATIONS, tenant, list(customers)):
        registrations[customer].append(Registration(at, code))
    if not registrations:
        return []
    who = list(registrations)
    _, currency = settings.get(rows, tenant)
    paid: defaultdict[UUID, list[datetime]] = defaultdict(list)
    for customer, at in sql.fetch(rows, _PAID, tenant, who, currency):
        paid[customer].append(at)
    known: dict[UUID, datetime] = dict(sql.fetch(rows, _KNOWN, tenant, who))
    return [Referee(it, known.get(it), theirs, paid.get(it, ())) for it, theirs in registrations.items()]


def _referrals(found: Iterable[Referee], holders: Mapping[str, Collection[UUID]]) -> Iterable[Referral]:
    """What new customers owe to the `holders` of codes; nobody brings in oneself."""
    for it in found:
        if it.is_new:
            for referrer in holders.get(it.first.code, ()):
                if referrer != it.customer:
                    yield Referral(referrer, it.customer, it.succeeded_at)
