"""The tracking plan of a brand (TR-2): the event types it made up itself, beside the preset ones, and what becomes of others.

Types only grow: what clients in the field send stays good for ever, and what means something else needs another name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from chassis.errors import BadFormat, FieldTooLong
from services.tracking.domain import event_types
from services.tracking.domain.errors import (
    EventTypeExists,
    EventTypeLimit,
    EventTypeNotFound,
    IncompatibleSchema,
)
from services.tracking.domain.event_types import KINDS, Check, EventType

MOST_TYPES: Final = 500
MOST_PROPERTIES: Final = 200
MOST_VALUES: Final = 1_000


class Category(StrEnum):
    """By what models count a behaviour: passive, interest, need, contact, buying, sharing, service."""

    NONE = ""
    P = "P"
    I = "I"  # noqa: E741 (the letter of the spec)
    N = "N"
    C = "C"
    B = "B"
    S = "S"
    V = "V"


class PropertyType(StrEnum):
    """What values look like."""

    TEXT = "TEXT"
    INT = "INT"
    NUMBER = "NUMBER"
    BOOL = "BOOL"
    LIST = "LIST"


class Unplanned(StrEnum):
    """What becomes of events whose type nobody registered."""

    QUARANTINE = "QUARANTINE"
    ACCEPT_UNPLANNED = "ACCEPT_UNPLANNED"


@dataclass(frozen=True, slots=True)
class PropertyDef:
    """One property; `enum` has the values of a TEXT that may have no others. Of a `pii` one the value is not kept."""

    key: str
    type: PropertyType
    required: bool = False
    pii: bool = False
    enum: tuple[str, ...] = ()

    def check(self) -> None:
        """Raise BadFormat, FieldTooLong."""
        if self.enum and self.type is not PropertyType.TEXT:
            raise BadFormat("only texts have a list of values", field=f"properties.{self.key}")
        if len(self.enum) > MOST_VALUES:
            raise FieldTooLong(f"at most {MOST_VALUES} values", field=f"properties.{self.key}")
        if self.pii and (self.enum or self.type is not PropertyType.TEXT):
            raise BadFormat("what is personal is a text of any value", field=f"properties.{self.key}")


@dataclass(frozen=True, slots=True)
class EventTypeDef:
    """A type as it stands after `version` changes; a deprecated one is still taken in."""

    name: str
    category: Category
    properties: tuple[PropertyDef, ...]
    version: int = 1
    deprecated: bool = False

    def check(self) -> None:
        """Raise BadFormat, FieldTooLong."""
        if len(self.properties) > MOST_PROPERTIES:
            raise FieldTooLong(f"at most {MOST_PROPERTIES} properties", field="properties")
        if len({it.key for it in self.properties}) < len(self.properties):
            raise BadFormat("a property is given twice", field="properties")
        for it in self.properties:
            it.check()

    def grown(self, category: Category, properties: tuple[PropertyDef, ...]) -> "EventTypeDef":
        """The type with more to it. Raises IncompatibleSchema where something good so far would be no longer."""
        if category != self.category:
            raise IncompatibleSchema(field="category")
        given = {it.key: it for it in properties}
        for known in self.properties:
            if known.key not in given or not _covers(given[known.key], known):
                raise IncompatibleSchema(field=f"properties.{known.key}")
        known_keys = {it.key for it in self.properties}
        for it in properties:
            if it.required and it.key not in known_keys:
                raise IncompatibleSchema("a new property cannot be required", field=f"properties.{it.key}")
        return replace(self, properties=properties, version=self.version + 1)


class TrackingPlan(Aggregate):
    """All event types that one brand registered."""

    TOPIC = "tracking.TrackingPlan"

    class Opened(InitialEvent):
        """The brand began to plan."""

        TOPIC = "tracking.TrackingPlanOpened"
        tenant: str

    class EventTypeRegistered(Event):
        """There is another type."""

        TOPIC = "tracking.EventTypeRegistered"
        definition: EventTypeDef

    class EventTypeUpdated(Event):
        """There is more to a type."""

        TOPIC = "tracking.EventTypeUpdated"
        definition: EventTypeDef

    class EventTypeDeprecated(Event):
        """Nobody should send events of the type any more."""

        TOPIC = "tracking.EventTypeDeprecated"
        name: str
        version: int

    class UnplannedDecided(Event):
        """What becomes of events of other types from now on."""

        TOPIC = "tracking.UnplannedDecided"
        unplanned: Unplanned

    @event(Opened)
    def __init__(self, id: UUID, tenant: str) -> None:
        self.tenant = tenant
        self.types: dict[str, EventTypeDef] = {}
        self.unplanned = Unplanned.QUARANTINE

    @classmethod
    def of_tenant(cls, tenant: str) -> "TrackingPlan":
        return cls(plan_id(tenant), tenant)

    def register(self, definition: EventTypeDef) -> EventTypeDef:
        """The type. Raises EventTypeExists, EventTypeLimit, BadFormat, FieldTooLong."""
        definition.check()
        known = self.types.get(definition.name)
        if known == definition:
            return known
        if known or definition.name in event_types.PRESETS:
            raise EventTypeExists(field="event_type")
        if len(self.types) >= MOST_TYPES:
            raise EventTypeLimit(limit=MOST_TYPES)
        self._registered(definition)
        return definition

    def update(self, name: str, category: Category, properties: tuple[PropertyDef, ...]) -> EventTypeDef:
        """The type after it. Raises EventTypeNotFound, IncompatibleSchema, BadFormat, FieldTooLong."""
        known = self._known(name)
        if (known.category, known.properties) == (category, properties):
            return known
        changed = known.grown(category, properties)
        changed.check()
        self._updated(changed)
        return changed

    def deprecate(self, name: str) -> EventTypeDef:
        """The type after it. Raises EventTypeNotFound."""
        known = self._known(name)
        if not known.deprecated:
            self._deprecated(name, known.version + 1)
        return self.types[name]

    def decide_unplanned(self, unplanned: Unplanned) -> None:
        if unplanned != self.unplanned:
            self._unplanned_decided(unplanned)

    def _known(self, name: str) -> EventTypeDef:
        if name not in self.types:
            raise EventTypeNotFound(field="event_type")
        return self.types[name]

    @event(EventTypeRegistered)
    def _registered(self, definition: EventTypeDef) -> None:
        self.types[definition.name] = definition

    @event(EventTypeUpdated)
    def _updated(self, definition: EventTypeDef) -> None:
        self.types[definition.name] = definition

    @event(EventTypeDeprecated)
    def _deprecated(self, name: str, version: int) -> None:
        self.types[name] = replace(self.types[name], deprecated=True, version=version)

    @event(UnplannedDecided)
    def _unplanned_decided(self, unplanned: Unplanned) -> None:
        self.unplanned = Unplanned(unplanned)


class Plan:
    """A plan as the intake works with it: every event type of a tenant by name."""

    def __init__(self, types: Mapping[str, EventTypeDef], unplanned: Unplanned = Unplanned.QUARANTINE) -> None:
        self._definitions = types
        self.accepts_unplanned = unplanned is Unplanned.ACCEPT_UNPLANNED

    @classmethod
    def of(cls, plan: TrackingPlan) -> "Plan":
        return cls(dict(plan.types), plan.unplanned)

    def find(self, name: str) -> EventType | None:
        """The type of that name; None if events of it are not taken in."""
        found = self._own.get(name) or event_types.find(name)
        if found is None and self.accepts_unplanned and name:
            return event_types.open_type(name)
        return found

    def knows(self, name: str) -> bool:
        """Whether the type is preset or registered."""
        return name in self._own or name in event_types.PRESETS

    @cached_property
    def _own(self) -> Mapping[str, EventType]:
        return {name: _event_type(it) for name, it in self._definitions.items()}


PRESET_PLAN: Final = Plan({})
"""That of a brand which has made up nothing."""


def plan_id(tenant: str) -> UUID:
    """The plan of a tenant."""
    return natural_id(tenant, "tracking plan")


def _covers(new: PropertyDef, old: PropertyDef) -> bool:
    """Whether every value that was good for `old` is for `new`, and as personal as before."""
    if (new.type, new.pii) != (old.type, old.pii) or (new.required and not old.required):
        return False
    return not new.enum or (bool(old.enum) and set(new.enum) >= set(old.enum))


def _event_type(definition: EventTypeDef) -> EventType:
    return EventType(
        definition.name,
        definition.category,
        {it.key: _check(it) for it in definition.properties},
        tuple(it.key for it in definition.properties if it.required),
        tuple(it.key for it in definition.properties if it.pii),
    )


def _check(definition: PropertyDef) -> Check:
    check: Callable[[Any], bool] = KINDS[definition.type.lower()]
    if not definition.enum:
        return check
    values = frozenset(definition.enum)
    return lambda value: isinstance(value, str) and value in values
