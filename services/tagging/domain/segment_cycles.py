"""Segments that are made of one another have an order: none is among those it is made of (spec TG-6)."""

from collections.abc import Callable
from uuid import UUID

from services.tagging.domain.conditions import InSegment
from services.tagging.domain.errors import SegmentCycle
from services.tagging.domain.segments import Definition, Segment


def require_no_cycle(segment: UUID, definition: Definition, load: Callable[[set[UUID]], dict[UUID, Segment]]) -> None:
    """`segment` must not be among the segments it would be made of; `load` fetches segments, all that are asked for.

    Raises SegmentCycle with the path of the leaf that leads there, and what `load` raises for an unknown segment.
    """
    seen: set[UUID] = set()
    waiting = {leaf.segment: path for path, leaf in definition.placed() if isinstance(leaf, InSegment)}
    while waiting:
        if segment in waiting:
            raise SegmentCycle(field=waiting[segment])
        seen |= waiting.keys()
        found = load(set(waiting))
        waiting = {
            operand: waiting[id]
            for id, it in found.items()
            for operand in it.definition.operands()
            if operand not in seen
        }
