"""The rules of tags whose conditions are segments are followed when these change."""

from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from chassis.commands import UnitOfWork
from services.tagging.application.ports import Change
from services.tagging.application.standing import Tally, evaluate_later, follow_later
from services.tagging.domain.claims import Cause
from services.tagging.domain.memberships import MembershipCause
from services.tagging.domain.tag_rules import TagRules, tag_rules_id

_TAG_CAUSES: Final[Mapping[MembershipCause, Cause]] = {
    MembershipCause.EVENT: Cause.EVENT,
    MembershipCause.TIME: Cause.TIME,
    MembershipCause.MERGE: Cause.MERGE,
}


def tell_rules(work: UnitOfWork, changes: Mapping[UUID, Change], cause: Callable[[int], MembershipCause]) -> None:
    """Have the rules followed whose conditions these segments are; those with a schedule wait for it."""
    rules = work.find(TagRules, tag_rules_id(work.context.tenant))
    if rules is None:
        return
    rule_of = {id: it for id, it in rules.rule_of.items() if it.schedule.realtime}
    for segment in changes.keys() & rule_of.keys():
        tag, first = rule_of[segment].tag, min(changes[segment].add | changes[segment].remove)
        why = _TAG_CAUSES.get(cause(first))
        if why is None:
            evaluate_later(work, tag, Cause.BACKFILL, Tally(work.now))
        else:
            follow_later(work, tag, why)
