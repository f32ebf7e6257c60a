"""What customers agreed to, and whose stores they belong to: what tagging them depends on."""

from collections.abc import Collection
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from services.tagging.domain.profile import Consent, FollowUp, GuideWord, guide_of
from services.tagging.domain.profile import agreed as purposes_agreed
from services.tagging.read_models import sql

_CONSENTS: Final = (
    "SELECT n.customer, c.node, c.purpose, c.channel, c.state, c.made_at, c.beside FROM nodes n"
    " JOIN consents c ON c.tenant = n.tenant AND c.node = n.node"
    " WHERE n.tenant = %s AND n.customer = ANY(%s) AND c.purpose = %s"
)
_GUIDES: Final = (
    "SELECT n.customer, g.node, g.said_at, g.kind, g.staff, g.store, g.beside FROM nodes n"
    " JOIN guide_words g ON g.tenant = n.tenant AND g.node = n.node WHERE n.tenant = %s AND n.customer = ANY(%s)"
)
_FOLLOW_UPS: Final = (
    "SELECT n.customer, f.node, f.staff, f.followed_at FROM nodes n"
    " JOIN follow_ups f ON f.tenant = n.tenant AND f.node = n.node WHERE n.tenant = %s AND n.customer = ANY(%s)"
)


def agreed(rows: sa.Connection, tenant: str, customers: Collection[UUID], purpose: str) -> set[UUID]:
    """Those of `customers` who agreed to a purpose, whatever the channel."""
    said: dict[UUID, list[Consent]] = {}
    for customer, *consent in sql.fetch(rows, _CONSENTS, tenant, list(customers), purpose):
        said.setdefault(customer, []).append(Consent(*consent))
    return {customer for customer, theirs in said.items() if purpose in purposes_agreed(theirs)}


def stores(rows: sa.Connection, tenant: str, customers: Collection[UUID]) -> dict[UUID, UUID]:
    """Where the guide of each of `customers` works, of those who have one who works somewhere."""
    words: dict[UUID, list[GuideWord]] = {}
    for customer, *word in sql.fetch(rows, _GUIDES, tenant, list(customers)):
        words.setdefault(customer, []).append(GuideWord(*word))
    followed: dict[UUID, list[FollowUp]] = {}
    for customer, *one in sql.fetch(rows, _FOLLOW_UPS, tenant, list(customers)):
        followed.setdefault(customer, []).append(FollowUp(*one))
    guides = {customer: guide_of(theirs, followed.get(customer, ())) for customer, theirs in words.items()}
    return {customer: it[1] for customer, it in guides.items() if it is not None and it[1] is not None}
