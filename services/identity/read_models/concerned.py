"""Which events concern a read model: most concern few of them, and to look at their classes takes less than to match each."""

from collections.abc import Collection, Sequence

from chassis.log import Recorded


def concerning(items: Sequence[Recorded], events: Collection[type]) -> list[Recorded]:
    """Those of a stretch of the log whose events are of these classes."""
    return [it for it in items if type(it.event) in events]
