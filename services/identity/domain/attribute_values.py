"""What is known of one node: every value of every source, each as of when it was observed.

Which of them counts is decided when they are read (survivorship). Personal values are sealed; what came from WeChat always is,
under a key of its own, which is destroyed when the person leaves the official account.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.identity.domain.attributes import AttributeSource
from services.identity.domain.errors import BirthdateChangeLimit

REDECLARE_AFTER: Final = timedelta(days=365)
PURGED_WITH_CHANNEL: Final = frozenset({AttributeSource.WECHAT_AUTH})

Place = tuple[str, AttributeSource]
"""The key of an attribute, and a source."""


@dataclass(frozen=True, slots=True)
class HeldValue:
    """A value as it is kept: `text` of one that tells nobody, else `sealed` under the data key of `sealed_for`.

    Without both it is one that the source took back.
    """

    text: str | None = None
    sealed: bytes | None = None
    sealed_for: UUID | None = None

    @property
    def is_cleared(self) -> bool:
        return self.text is None and self.sealed is None


@dataclass(frozen=True, slots=True)
class AttributeChange:
    """A source says something else than before."""

    key: str
    source: AttributeSource
    old: HeldValue | None
    new: HeldValue
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class Confirmation:
    """A source says the same as before, at a later time."""

    key: str
    source: AttributeSource
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """What a source says of an attribute."""

    held: HeldValue
    observed_at: datetime


class News(Enum):
    """What an observation is beside what is known."""

    NOTHING = auto()
    CONFIRMED = auto()
    CHANGED = auto()


class AttributeValues(Aggregate):
    """All values of one node."""

    TOPIC = "identity.AttributeValues"

    class Opened(InitialEvent):
        """The first value of the node was heard of."""

        TOPIC = "identity.AttributeValuesOpened"
        tenant: str
        node: UUID

    class Changed(Event):
        """Sources say something new of the node."""

        TOPIC = "identity.AttributesChanged"
        node: UUID
        changed: tuple[AttributeChange, ...]
        changed_at: datetime

    class Confirmed(Event):
        """Sources said again what they had said."""

        TOPIC = "identity.AttributesConfirmed"
        node: UUID
        confirmed: tuple[Confirmation, ...]

    class Purged(Event):
        """All that a source ever said is gone for good, and with it what it said until `until` and is heard of later."""

        TOPIC = "identity.AttributesPurged"
        node: UUID
        source: AttributeSource
        keys: tuple[str, ...]
        until: datetime
        purged_at: datetime

    class BirthdateRedeclared(Event):
        """The customer gave another birthdate than before."""

        TOPIC = "identity.BirthdateRedeclared"
        node: UUID
        redeclared_at: datetime

    class MinorityChanged(Event):
        """The person turned out to be under 14, or is so no longer."""

        TOPIC = "identity.CustomerMinorityChanged"
        node: UUID
        minor: bool
        changed_at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, node: UUID) -> None:
        self.tenant = tenant
        self.node = node
        self.values: dict[Place, Known] = {}
        self.purged_until: dict[AttributeSource, datetime] = {}
        self.purges: dict[AttributeSource, int] = {}
        self.sealed_under: set[UUID] = set()
        self.redeclared_at: datetime | None = None
        self.minor = False

    @classmethod
    def of_node(cls, tenant: str, node: UUID) -> "AttributeValues":
        return cls(values_id(tenant, node), tenant, node)

    def sealing_id(self, source: AttributeSource) -> UUID:
        """Under whose data key values of `source` are sealed: the node's, or one that can be destroyed alone."""
        if source not in PURGED_WITH_CHANNEL:
            return self.node
        return natural_id(self.tenant, "channel data", self.node, source, self.purges.get(source, 0))

    def news(self, place: Place, observed_at: datetime, text: str | None, known_text: str | None) -> News:
        """What an observation is, given what the known value says; `text` is None where the source takes its value back.

        Of two things said at one moment the text that sorts later counts, so that the order of arrival does not matter.
        """
        until, known = self.purged_until.get(place[1]), self.values.get(place)
        if until is not None and observed_at <= until:
            return News.NOTHING
        if known is None:
            return News.CHANGED
        same = text == known_text and known.held.is_cleared == (text is None)
        if observed_at > known.observed_at:
            return News.CONFIRMED if same else News.CHANGED
        is_tie = observed_at == known.observed_at
        return News.CHANGED if is_tie and not same and (text or "") > (known_text or "") else News.NOTHING

    def change(self, changed: Sequence[AttributeChange], confirmed: Sequence[Confirmation], at: datetime) -> None:
        """Take note of what `news` found to be new."""
        if changed:
            self._changed(node=self.node, changed=tuple(changed), changed_at=at)
        if confirmed:
            self._confirmed(node=self.node, confirmed=tuple(confirmed))

    def purge(self, source: AttributeSource, until: datetime, at: datetime) -> None:
        """Forget all that a source said."""
        keys = tuple(sorted(key for key, whose in self.values if whose is source))
        self._purged(node=self.node, source=source, keys=keys, until=until, purged_at=at)

    def redeclare_birthdate(self, last: datetime | None, at: datetime) -> None:
        """The customer, who did so `last` at any node, gives another birthdate. Raises BirthdateChangeLimit."""
        if last is not None and at < last + REDECLARE_AFTER:
            raise BirthdateChangeLimit(field="values", days=REDECLARE_AFTER.days)
        self._birthdate_redeclared(node=self.node, redeclared_at=at)

    def set_minor(self, minor: bool, at: datetime) -> None:
        """Say whether the person is under 14."""
        if minor != self.minor:
            self._minority_changed(node=self.node, minor=minor, changed_at=at)

    @event(Changed)
    def _changed(self, node: UUID, changed: tuple[AttributeChange, ...], changed_at: datetime) -> None:
        for it in changed:
            self.values[it.key, it.source] = Known(it.new, it.observed_at)
            if it.new.sealed_for is not None:
                self.sealed_under.add(it.new.sealed_for)

    @event(Confirmed)
    def _confirmed(self, node: UUID, confirmed: tuple[Confirmation, ...]) -> None:
        for it in confirmed:
            place = it.key, it.source
            self.values[place] = replace(self.values[place], observed_at=it.observed_at)

    @event(Purged)
    def _purged(
        self, node: UUID, source: AttributeSource, keys: tuple[str, ...], until: datetime, purged_at: datetime
    ) -> None:
        self.values = {place: it for place, it in self.values.items() if place[1] is not source}
        self.sealed_under.discard(self.sealing_id(source))
        self.purged_until[source] = until
        self.purges[source] = self.purges.get(source, 0) + 1

    @event(BirthdateRedeclared)
    def _birthdate_redeclared(self, node: UUID, redeclared_at: datetime) -> None:
        self.redeclared_at = redeclared_at

    @event(MinorityChanged)
    def _minority_changed(self, node: UUID, minor: bool, changed_at: datetime) -> None:
        self.minor = minor


def values_id(tenant: str, node: UUID) -> UUID:
    """The values of one node."""
    return natural_id(tenant, "attribute values", node)
