"""Shares: created by those who share or seen in what they did, and who comes through them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from services.tracking.application.ports import FactBook
from services.tracking.domain.errors import ShareNotFound
from services.tracking.domain.shares import Share, ShareVisit, share_key, visit_key


@dataclass(frozen=True, slots=True)
class CreateShare:
    """`share_id` and `parent` may be empty: for an id that is made here, and for the first share of a tree."""

    share_id: str
    node: UUID
    content_id: str
    activity_id: str
    parent: str


@dataclass(frozen=True, slots=True)
class SeenShare:
    """A share as a behaviour tells of it."""

    share_id: str
    node: UUID
    content_id: str
    parent: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SeenVisit:
    """Somebody came through a share."""

    share_id: str
    node: UUID
    at: datetime


def create_share(command: CreateShare, work: UnitOfWork) -> Share:
    """Raises ShareNotFound for an unknown parent, ShareExists for an id that names another share."""
    tenant = work.context.tenant
    share_id = command.share_id or work.new_id().hex
    known = work.find(Share, share_key(tenant, share_id))
    if known is not None:
        known.require_same(command.node, command.content_id, command.activity_id, command.parent)
        return known
    parent = work.find(Share, share_key(tenant, command.parent)) if command.parent else None
    if command.parent and parent is None:
        raise ShareNotFound(field="parent_share_id")
    return _add(work, share_id, command, parent, work.now)


def take_shares(work: UnitOfWork, seen: Sequence[SeenShare]) -> None:
    """Shares that behaviours tell of; one whose parent is unknown begins a tree."""
    tenant = work.context.tenant
    names = {it.share_id for it in seen} | {it.parent for it in seen if it.parent}
    work.find_all(Share, [share_key(tenant, it) for it in sorted(names)])
    for it in seen:
        if work.find(Share, share_key(tenant, it.share_id)) is None:
            parent = work.find(Share, share_key(tenant, it.parent)) if it.parent else None
            made = CreateShare(it.share_id, it.node, it.content_id, "", it.parent if parent else "")
            _add(work, it.share_id, made, parent, it.at)


def take_visits(work: UnitOfWork, book: FactBook, seen: Sequence[SeenVisit]) -> None:
    """Whoever came through a share of somebody else, once per node; a share that nobody made counts nothing."""
    tenant = work.context.tenant
    shares = work.find_all(Share, [share_key(tenant, it) for it in sorted({it.share_id for it in seen})])
    people = book.people({it.node for it in seen} | {it.node for it in shares.values()})
    pairs = {(it.share_id, node) for it in seen for node in people.nodes[people.of(it.node)]}
    work.find_all(ShareVisit, [visit_key(tenant, *it) for it in sorted(pairs)])
    for it in sorted(seen, key=lambda it: (it.at, it.share_id, it.node)):
        share = shares.get(share_key(tenant, it.share_id))
        if share is None or people.of(share.node) == people.of(it.node):
            continue
        visited = {
            node
            for node in people.nodes[people.of(it.node)]
            if work.find(ShareVisit, visit_key(tenant, it.share_id, node)) is not None
        }
        if it.node not in visited:
            id = visit_key(tenant, it.share_id, it.node)
            work.add(ShareVisit(id, tenant, it.share_id, it.node, not visited, it.at))


def _add(work: UnitOfWork, share_id: str, made: CreateShare, parent: Share | None, at: datetime) -> Share:
    tenant = work.context.tenant
    share = Share(
        share_key(tenant, share_id),
        tenant,
        share_id,
        made.node,
        made.content_id,
        made.activity_id,
        made.parent,
        parent.root if parent else share_id,
        parent.depth + 1 if parent else 1,
        at,
    )
    work.add(share)
    return share


SHARE_HANDLERS: Handlers = (handler(CreateShare, create_share),)
