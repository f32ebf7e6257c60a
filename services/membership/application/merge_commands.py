"""Commands that follow from merges of customers, and from merges that are taken back, in whatever order they are told."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.commands import UnitOfWork
from services.membership.application.customers import (
    account_of,
    ancestors,
    find_account,
    find_member,
    find_program,
    is_erased,
    keeping_time,
    member_of,
    notice,
)
from services.membership.application.earning import earn, lose_unearned, reconsider
from services.membership.domain.member import Member, member_id


@dataclass(frozen=True, slots=True)
class MergeMembers:
    """Two customers turned out to be one."""

    tenant: str
    merge: UUID
    survivor: UUID
    loser: UUID


@dataclass(frozen=True, slots=True)
class UnmergeMembers:
    """They turned out to be two after all; `known_since` is the instant by which the restored one is known, if at all."""

    tenant: str
    merge: UUID
    survivor: UUID
    restored: UUID
    known_since: datetime | None


@dataclass(frozen=True, slots=True)
class FollowAwaitedMerges:
    """A merge of `restored` that was taken back no longer stands in the way of others."""

    tenant: str
    restored: UUID


def merge_members(command: MergeMembers, work: UnitOfWork) -> None:
    """One list of orders, one membership, one account; the loser's aggregates point to the survivor's.

    Kept for later while the loser is part of somebody else, or the survivor part of the loser: a merge is on its way
    here that takes that back.
    """
    merge, survivor = command.merge, command.survivor
    if command.loser == survivor or is_erased(command.loser, work) or is_erased(survivor, work):
        return
    loser = _customer(command.loser, work)
    if merge in loser.merges or merge in loser.taken_back:
        return
    if _is_in_the_way(loser, survivor, work):
        loser.await_merge(survivor, merge)
    else:
        _merge(loser, survivor, merge, work)


def unmerge_members(command: UnmergeMembers, work: UnitOfWork) -> None:
    """The loser is a customer again with what is theirs; a merge not heard of so far will change nothing."""
    if is_erased(command.restored, work):
        return
    restored = _customer(command.restored, work)
    if restored.merged_by == command.merge:
        _split(restored, command.merge, work)
    else:
        restored.take_back(command.merge)
    if command.known_since is not None:
        member = member_of(command.restored, work)
        member.recognize(command.restored, command.known_since)
        reconsider(member, work)


def follow_awaited_merges(command: FollowAwaitedMerges, work: UnitOfWork) -> None:
    """Carry out what the two customers wait for that were one, if nothing is in its way any more."""
    if is_erased(command.restored, work):
        return
    restored = _customer(command.restored, work)
    for node in (restored.customer, restored.left):
        loser = find_member(node, work) if node is not None else None
        if loser is not None:
            _follow_awaited_merge(loser, work)


def _customer(customer: UUID, work: UnitOfWork) -> Member:
    """The aggregate of exactly this customer, whatever they are part of."""
    return work.find(Member, member_id(work.context.tenant, customer)) or notice(customer, work)


def _is_in_the_way(loser: Member, survivor: UUID, work: UnitOfWork) -> bool:
    """Whether `loser` is part of somebody already, or `survivor` part of the loser."""
    return loser.merged_into is not None or find_member(survivor, work) is loser


def _follow_awaited_merge(loser: Member, work: UnitOfWork) -> None:
    for merge, survivor in loser.merges.items():
        if not _is_in_the_way(loser, survivor, work):
            _merge(loser, survivor, merge, work)
            return


def _merge(loser: Member, survivor: UUID, merge: UUID, work: UnitOfWork) -> None:
    loser.point_to(survivor, merge)
    if loser.history.is_empty:
        return
    account = find_account(loser, work)
    member = member_of(survivor, work)
    member.absorb(loser, merge)
    if account is not None:
        taking = account_of(member, work)
        with keeping_time(account, work), keeping_time(taking, work):
            taking.take_over(account, merge, work.now)
    reconsider(member, work)


def _split(restored: Member, merge: UUID, work: UnitOfWork) -> None:
    """Give `restored`, and those still part of them, back what came to their nodes."""
    above, program = ancestors(restored, work), find_program(work)
    policy = program.join_policy if program is not None else None
    member = above[-1]
    nodes = _nodes_of(restored, member, work)
    entries = [entry for it in above for entry in it.entries_of(nodes, restored.customer)]
    restored.take_back(merge)
    for number, it in enumerate(above):
        it.release(restored.customer, merge, nodes, above[:number], policy)
    restored.restore(above[0].customer, merge, entries, policy)
    _split_account(member, restored, merge, nodes, work)
    if program is not None:
        for it in (member, restored):
            lose_unearned(it, program, work)
            earn(it, program, it.spends.values(), work)


def _nodes_of(restored: Member, member: Member, work: UnitOfWork) -> set[UUID]:
    """Those nodes with a share in what `member` has that lead to `restored`."""
    account = find_account(member, work)
    shares = member.history.nodes | (account.nodes if account is not None else set())
    return {restored.customer} | {it for it in shares if _leads_to(restored, it, work)}


def _leads_to(restored: Member, node: UUID, work: UnitOfWork) -> bool:
    member = work.find(Member, member_id(work.context.tenant, node))
    return member is not None and any(it is restored for it in ancestors(member, work))


def _split_account(member: Member, restored: Member, merge: UUID, nodes: Collection[UUID], work: UnitOfWork) -> None:
    account = find_account(member, work)
    if account is None or not (account.nodes & set(nodes) or find_account(restored, work)):
        return
    getting = account_of(restored, work)
    with keeping_time(account, work), keeping_time(getting, work):
        account.give_back(getting, nodes, merge, work.now)
