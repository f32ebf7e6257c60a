"""How what a source says of a person is taken up: read, compared with what is known, sealed if personal, and recorded."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate
from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.identity.application.consents import require_consent
from services.identity.application.owners import require_past
from services.identity.application.vault import Vault
from services.identity.domain.attribute_catalogue import AttributeCatalogue, catalogue_id
from services.identity.domain.attribute_forms import Value, written
from services.identity.domain.attribute_values import (
    PURGED_WITH_CHANNEL,
    AttributeChange,
    AttributeValues,
    Confirmation,
    HeldValue,
    News,
    Place,
    values_id,
)
from services.identity.domain.attributes import AGE_BAND, BIRTHDATE, PRESET, AttributeDefinition, AttributeSource
from services.identity.domain.consent import Purpose
from services.identity.domain.customer import Customer
from services.identity.domain.errors import UnknownAttribute
from services.identity.domain.minority import is_minor, of_age_at
from services.identity.domain.sealing import SealedValue
from services.identity.domain.survivorship import Said

COMING_OF_AGE: Final = "coming_of_age"
"""The kind of the timer that goes off, by node, when a child turns 14."""

_DECLARED_BIRTHDATE: Final[Place] = (BIRTHDATE, AttributeSource.CUSTOMER_DECLARED)
_TELLS_AGE: Final = frozenset({BIRTHDATE, AGE_BAND})


@dataclass(frozen=True, slots=True)
class Observation:
    """What a source says of an attribute at `observed_at` (None: now); `value` is None where it takes back what it said."""

    key: str
    source: AttributeSource
    value: Value | None = field(repr=False)
    observed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class UpsertAttributes:
    """What sources say of the person of `node`."""

    node: UUID
    observations: tuple[Observation, ...]


@dataclass(frozen=True, slots=True)
class _Reading:
    """An observation that has the form of its attribute."""

    definition: AttributeDefinition
    source: AttributeSource
    text: str | None = field(repr=False)
    observed_at: datetime

    @property
    def place(self) -> Place:
        return self.definition.key, self.source

    @property
    def rank(self) -> tuple[datetime, str]:
        """Of several for one place the greatest is what arriving one by one would leave."""
        return self.observed_at, self.text or ""


class Upserting:
    """One command being carried out."""

    def __init__(self, command: UpsertAttributes, customer: Customer, work: UnitOfWork, vault: Vault) -> None:
        self._command = command
        self._customer = customer
        self._work = work
        self._vault = vault
        self._ids = [values_id(work.context.tenant, it) for it in customer.nodes]

    def upsert(self) -> None:
        """Record at the node whatever is news."""
        self._work.find_all(Aggregate, [catalogue_id(self._work.context.tenant), *self._ids])
        readings = self._read()
        values = values_of(self._work, self._command.node)
        self._vault.prepare(self._work, {values.node, *values.sealed_under})
        changed: list[AttributeChange] = []
        confirmed: list[Confirmation] = []
        for it in readings:
            match values.news(it.place, it.observed_at, it.text, known_text(values, it.place, self._work, self._vault)):
                case News.CHANGED:
                    self._require_allowed(it, values)
                    changed.append(self._change(it, values))
                case News.CONFIRMED:
                    confirmed.append(Confirmation(it.definition.key, it.source, it.observed_at))
        if changed or confirmed:
            self._work.add(values)
            values.change(changed, confirmed, self._work.now)
        if any(it.key in _TELLS_AGE for it in changed):
            review_minority(values, self._work, self._vault)

    def _read(self) -> list[_Reading]:
        """What the observations say, one for each place. Raises what is wrong with them."""
        definitions = definitions_of(self._work)
        readings: dict[Place, _Reading] = {}
        for number, it in enumerate(self._command.observations):
            at = f"values[{number}]"
            definition = definitions.get(it.key)
            if definition is None:
                raise UnknownAttribute(field=f"{at}.key")
            text = None if it.value is None else written(definition, it.value, self._work.now, f"{at}.value")
            found = _Reading(
                definition, it.source, text, require_past(it.observed_at, self._work, f"{at}.observe_time")
            )
            known = readings.get(found.place)
            readings[found.place] = found if known is None else max(found, known, key=lambda one: one.rank)
        return list(readings.values())

    def _require_allowed(self, reading: _Reading, values: AttributeValues) -> None:
        """Raises ConsentMissing and BirthdateChangeLimit."""
        if reading.definition.sensitive and reading.source is AttributeSource.INFERRED and reading.text is not None:
            require_consent(self._work, self._customer, Purpose.SENSITIVE_INFERENCE)
        if reading.place == _DECLARED_BIRTHDATE:
            self._notice_birthdate(reading, values)

    def _notice_birthdate(self, reading: _Reading, values: AttributeValues) -> None:
        """Count it if the customer says something else than what was declared last, at whichever node."""
        of_nodes = list(self._work.find_all(AttributeValues, self._ids).values())
        declared = [
            (it.values[_DECLARED_BIRTHDATE].observed_at, -it.node.int, it)
            for it in of_nodes
            if _DECLARED_BIRTHDATE in it.values
        ]
        if not declared:
            return
        at, _, last = max(declared, key=lambda it: it[:2])
        if reading.observed_at >= at and reading.text != known_text(last, _DECLARED_BIRTHDATE, self._work, self._vault):
            redeclared = [it.redeclared_at for it in of_nodes if it.redeclared_at is not None]
            values.redeclare_birthdate(max(redeclared, default=None), self._work.now)

    def _change(self, reading: _Reading, values: AttributeValues) -> AttributeChange:
        known = values.values.get(reading.place)
        key, source = reading.place
        return AttributeChange(
            key, source, known.held if known else None, self._held(reading, values), reading.observed_at
        )

    def _held(self, reading: _Reading, values: AttributeValues) -> HeldValue:
        if reading.text is None:
            return HeldValue()
        if not is_sealed(reading.definition, reading.source):
            return HeldValue(text=reading.text)
        id = values.sealing_id(reading.source)
        is_new = id not in values.sealed_under and id != values.node
        seal = self._vault.seal_new if is_new else self._vault.seal
        sealed = seal(self._work, id, sealed_as(reading.definition.key), reading.text)
        return HeldValue(sealed=sealed, sealed_for=id)


def is_sealed(definition: AttributeDefinition, source: AttributeSource) -> bool:
    """Whether a value is kept sealed: a personal one, and any of a source all of which may have to be destroyed."""
    return definition.pii or source in PURGED_WITH_CHANNEL


def sealed_as(key: str) -> str:
    """The field under which values of an attribute are sealed."""
    return f"attribute.{key}"


def definitions_of(work: UnitOfWork) -> Mapping[str, AttributeDefinition]:
    """All attributes of the tenant."""
    catalogue = work.find(AttributeCatalogue, catalogue_id(work.context.tenant))
    return catalogue.definitions if catalogue is not None else PRESET


def values_of(work: UnitOfWork, node: UUID) -> AttributeValues:
    """The values of a node; those of one that has none are recorded when they are added."""
    tenant = work.context.tenant
    return work.find(AttributeValues, values_id(tenant, node)) or AttributeValues.of_node(tenant, node)


def known_text(values: AttributeValues, place: Place, work: UnitOfWork, vault: Vault) -> str | None:
    """What is known in a place; None for nothing."""
    known = values.values.get(place)
    if known is None:
        return None
    held = known.held
    if held.sealed is None or held.sealed_for is None:
        return held.text
    return vault.open(work, SealedValue(held.sealed_for, sealed_as(place[0]), held.sealed))


def review_minority(values: AttributeValues, work: UnitOfWork, vault: Vault) -> None:
    """Say whether the person of a node is a child, and when to look again."""
    said = list(_ages(values, work, vault))
    values.set_minor(is_minor(said, work.now), work.now)
    of_age = of_age_at(said)
    if values.minor and of_age is not None:
        work.schedule(Timer(COMING_OF_AGE, str(values.node), of_age))
    else:
        work.unschedule(COMING_OF_AGE, str(values.node))


def _ages(values: AttributeValues, work: UnitOfWork, vault: Vault) -> Iterable[Said]:
    """All that tells the age of the person of a node."""
    for place, known in values.values.items():
        if place[0] in _TELLS_AGE:
            text = known_text(values, place, work, vault)
            if text is not None:
                yield Said(place[0], values.node, place[1], known.observed_at, text)
