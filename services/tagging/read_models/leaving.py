"""Whoever is erased goes out of all segments: that is told, and not kept in the history of the segments, which knows of nobody erased."""

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from chassis.commands import UnitOfWork
from services.tagging.domain.memberships import MembershipCause, MembershipChange
from services.tagging.read_models import memberships, segments

_MOST: Final = 500
"""Of an event, which is published as one message for each."""


def tell_left(work: UnitOfWork, left: Mapping[UUID, tuple[UUID, ...]]) -> None:
    """Tell who went out of which segment because nothing may be known of them."""
    if not left:
        return
    rows, tenant = work.rows, work.context.tenant
    listings = segments.get(rows, tenant, left.keys())
    numbers = memberships.last_numbers(rows, tenant, left.keys())
    for segment, listing in listings.items():
        for start in range(0, len(left[segment]), _MOST):
            some = left[segment][start : start + _MOST]
            number, why = numbers[segment] + 1, MembershipCause.ERASURE
            gone = (tenant, segment, listing.revision, number, why, (), some, None, work.now)
            work.add(MembershipChange(work.new_id(), *gone))
