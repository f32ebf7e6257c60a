"""What a flow is made of: what starts it, the steps a customer goes through, and what makes them leave."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.campaigns.domain import templates
from services.campaigns.domain.errors import FlowInvalid, TemplateMalformed
from services.campaigns.domain.permissions import MessageClass

EXIT = "exit"
"""Leads out of the flow in place of a step."""

MOST_STEPS = 100
LONGEST_WAIT = timedelta(days=366)
DEFAULT_MAX_AGE = timedelta(hours=1)
LONGEST_MAX_AGE = timedelta(days=30)


class FactKind(StrEnum):
    """What a fact is about; the key of a fact says which one of its kind."""

    ORDER_PLACED = "ORDER_PLACED"
    ORDER_PAID = "ORDER_PAID"
    FIRST_ORDER_PAID = "FIRST_ORDER_PAID"
    ORDER_CANCELLED = "ORDER_CANCELLED"
    SEGMENT_ENTERED = "SEGMENT_ENTERED"
    PATH_STALLED = "PATH_STALLED"

    @property
    def is_of_an_order(self) -> bool:
        return self in _OF_ORDERS


_OF_ORDERS = frozenset(
    {FactKind.ORDER_PLACED, FactKind.ORDER_PAID, FactKind.FIRST_ORDER_PAID, FactKind.ORDER_CANCELLED}
)
_WITH_AMOUNT = frozenset({FactKind.ORDER_PLACED, FactKind.ORDER_PAID, FactKind.FIRST_ORDER_PAID})
_STALLED_ORDER = "PLACE_ORDER"


@dataclass(frozen=True, slots=True)
class Fact:
    """A kind of fact: of segments the one in `key`; of the purchase path the node in `key`, after standing still for `after`.

    `after_seconds` is 0 for any.
    """

    kind: FactKind
    key: str = ""
    after_seconds: int = 0

    @property
    def names_an_order(self) -> bool:
        """Whether every fact of this kind is about one order."""
        return self.kind.is_of_an_order or (self.kind is FactKind.PATH_STALLED and self.key == _STALLED_ORDER)


class StepKind(StrEnum):
    """What a step does."""

    WAIT = "WAIT"
    WAIT_UNTIL = "WAIT_UNTIL"
    WAIT_FOR = "WAIT_FOR"
    SEND = "SEND"


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `next` is a later step or EXIT, empty for the one after it.

    WAIT takes `seconds`; WAIT_UNTIL ends when it is `local_time` ("HH:MM") the next time; WAIT_FOR goes to `happened`, a later
    step or EXIT, when `fact` happens, and on to `next` after `seconds` without; SEND sends `text`, a message of
    `message_class`, by `channel` ("": one without a name, of which nobody says anything).
    """

    key: str
    kind: StepKind
    seconds: int = 0
    local_time: str = ""
    fact: Fact | None = None
    happened: str = ""
    text: str = ""
    next: str = ""
    message_class: MessageClass = MessageClass.SERVICE
    channel: str = ""


class Reentry(StrEnum):
    """Whether somebody who was in the flow may enter again."""

    NEVER = "NEVER"
    AFTER_EXIT = "AFTER_EXIT"
    PER_ORDER = "PER_ORDER"


@dataclass(frozen=True, slots=True)
class Definition:
    """A version of a flow. With PER_ORDER every order of a customer has an instance of its own, once, which only heeds that order.

    `minimum` in `currency` is what the order of the trigger must be worth (None: whatever); a trigger older than
    `max_age_seconds` starts nothing. `goal` and `exit_on` end an instance wherever it stands.
    """

    trigger: Fact
    steps: tuple[Step, ...]
    goal: Fact | None = None
    exit_on: Fact | None = None
    reentry: Reentry = Reentry.NEVER
    gap_seconds: int = 0
    max_age_seconds: int = int(DEFAULT_MAX_AGE.total_seconds())
    time_zone: str = "UTC"
    minimum: Decimal | None = None
    currency: str = ""

    def step(self, key: str) -> Step:
        return next(it for it in self.steps if it.key == key)

    def after(self, step: Step) -> str:
        """The key of the step after `step`; "" out of the flow."""
        if step.next:
            return "" if step.next == EXIT else step.next
        place = self.steps.index(step) + 1
        return self.steps[place].key if place < len(self.steps) else ""

    def happened(self, step: Step) -> str:
        """The key of the step to go to when what `step` waits for happens; "" out of the flow."""
        return "" if step.happened == EXIT else step.happened

    def heeds(self) -> set[Fact]:
        """The facts that concern somebody who is in the flow."""
        waited_for = {it.fact for it in self.steps if it.fact is not None}
        return waited_for | {it for it in (self.goal, self.exit_on) if it is not None}

    def wakes(self, step: Step, now: datetime) -> datetime | None:
        """When somebody who comes to `step` now leaves it of their own; None for a step that does not wait."""
        match step.kind:
            case StepKind.WAIT | StepKind.WAIT_FOR:
                return now + timedelta(seconds=step.seconds)
            case StepKind.WAIT_UNTIL:
                return _next_local(time.fromisoformat(step.local_time), ZoneInfo(self.time_zone), now)
        return None

    def check(self) -> None:
        """Raises FlowInvalid with everything that is wrong."""
        problems = sorted({*self._trigger_problems(), *self._step_problems(), *self._path_problems()})
        if problems:
            raise FlowInvalid("; ".join(problems), field="definition", problems="; ".join(problems))

    def _trigger_problems(self) -> Iterator[str]:
        if self.reentry is Reentry.PER_ORDER and not self.trigger.names_an_order:
            yield "TRIGGER_HAS_NO_ORDER"
        if self.reentry is not Reentry.AFTER_EXIT and self.gap_seconds:
            yield "GAP_WITHOUT_REENTRY"
        if self.minimum is not None and self.trigger.kind not in _WITH_AMOUNT:
            yield "TRIGGER_HAS_NO_AMOUNT"
        if not 0 < self.max_age_seconds <= LONGEST_MAX_AGE.total_seconds():
            yield "MAX_AGE_OUT_OF_RANGE"
        try:
            ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            yield "UNKNOWN_TIME_ZONE"

    def _step_problems(self) -> Iterator[str]:
        if not 0 < len(self.steps) <= MOST_STEPS:
            yield "NUMBER_OF_STEPS"
        if len({it.key for it in self.steps}) < len(self.steps):
            yield "STEP_KEY_TWICE"
        for step in self.steps:
            if step.key == EXIT:
                yield f"STEP_KEY_RESERVED:{step.key}"
            if step.kind in (StepKind.WAIT, StepKind.WAIT_FOR) and not 0 < step.seconds <= LONGEST_WAIT.total_seconds():
                yield f"WAIT_OUT_OF_RANGE:{step.key}"
            if step.kind is StepKind.WAIT_FOR and not step.happened:
                yield f"NO_STEP_FOR_HAPPENED:{step.key}"
            if step.kind is StepKind.SEND:
                try:
                    templates.check(step.text, field="text")
                except TemplateMalformed:
                    yield f"TEMPLATE_MALFORMED:{step.key}"

    def _path_problems(self) -> Iterator[str]:
        """Edges lead forward, so that nobody goes round in a circle, and every step can be reached."""
        places = {it.key: place for place, it in enumerate(self.steps)}
        reached = {self.steps[0].key} if self.steps else set()
        for place, step in enumerate(self.steps):
            if step.key not in reached:
                yield f"UNREACHABLE_STEP:{step.key}"
            for target in (step.next, step.happened):
                if target and target != EXIT and target not in places:
                    yield f"UNKNOWN_STEP:{target}"
                elif places.get(target, place + 1) <= place:
                    yield f"FLOW_CYCLE:{step.key}"
                else:
                    reached |= {self.after(step), self.happened(step)}


def _next_local(at: time, zone: ZoneInfo, now: datetime) -> datetime:
    """The next instant at which clocks of `zone` show `at`: after a gap where there is none, the first of two."""
    today = now.astimezone(zone).date()
    for days in range(3):
        wall = datetime.combine(today + timedelta(days=days), at, tzinfo=zone)
        instant = datetime.fromtimestamp(wall.timestamp(), tz=now.tzinfo)
        if instant > now:
            return instant
    raise ValueError("every day has the time")
