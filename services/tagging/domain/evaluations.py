"""What it came to when everybody was looked at: who a rule means (spec TG-5), and who is in a segment (spec TG-6)."""

from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate, InitialEvent, event


class RuleEvaluation(Aggregate):
    """A rule was followed through all customers."""

    TOPIC = "tagging.RuleEvaluation"

    class Completed(InitialEvent):
        """How many came to have the tag by the rule and ceased to, of a tag with values once for each value.

        `drift`: customers who were in one of its sets and should not have been, or were missing; `took_ms` from its beginning on.
        """

        TOPIC = "tagging.RuleEvaluated"
        tenant: str
        tag: str
        version: int
        entered: int
        exited: int
        drift: int
        took_ms: int
        at: datetime

    @event(Completed)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        tag: str,
        version: int,
        entered: int,
        exited: int,
        drift: int,
        took_ms: int,
        at: datetime,
    ) -> None:
        self.tenant = tenant
        self.tag = tag


class Recomputation(Aggregate):
    """The members of a segment were found anew at its pace, whether or not anybody came or went."""

    TOPIC = "tagging.SegmentRecomputation"

    class Completed(InitialEvent):
        TOPIC = "tagging.SegmentRecomputed"
        tenant: str
        segment: UUID
        revision: int
        size: int
        took_ms: int
        at: datetime

    @event(Completed)
    def __init__(
        self, id: UUID, tenant: str, segment: UUID, revision: int, size: int, took_ms: int, at: datetime
    ) -> None:
        self.tenant = tenant
        self.segment = segment
