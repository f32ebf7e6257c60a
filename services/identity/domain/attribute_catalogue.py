"""The attributes of one brand: those every brand has, and those it defined itself."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from chassis.errors import BadFormat, FieldRequired
from services.identity.domain.attributes import LISTS, PRESET, AttributeDefinition, AttributeType, MergePolicy
from services.identity.domain.errors import AttributeKeyTaken, AttributeLimit, TypeMismatch

MOST_DEFINITIONS: Final = 500


class AttributeCatalogue(Aggregate):
    """What a brand defined beside the preset attributes."""

    TOPIC = "identity.AttributeCatalogue"

    class Opened(InitialEvent):
        """The brand began to define attributes."""

        TOPIC = "identity.AttributeCatalogueOpened"
        tenant: str

    class AttributeDefined(Event):
        """There is another attribute, or more is allowed of one than before."""

        TOPIC = "identity.AttributeDefined"
        definition: AttributeDefinition
        defined_at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str) -> None:
        self.tenant = tenant
        self.own: dict[str, AttributeDefinition] = {}

    @classmethod
    def of_tenant(cls, tenant: str) -> "AttributeCatalogue":
        return cls(catalogue_id(tenant), tenant)

    @property
    def definitions(self) -> Mapping[str, AttributeDefinition]:
        """All attributes, by key."""
        return {**PRESET, **self.own}

    def define(self, definition: AttributeDefinition, at: datetime) -> None:
        """Take up an attribute, or change one as far as the values there are stay good.

        Raises AttributeKeyTaken, AttributeLimit, and what is wrong with the definition.
        """
        _require_sound(definition)
        known = self.definitions.get(definition.key)
        if known == definition:
            return
        if known is not None:
            _require_compatible(known, definition)
        elif len(self.own) >= MOST_DEFINITIONS:
            raise AttributeLimit(limit=MOST_DEFINITIONS)
        self._attribute_defined(definition=definition, defined_at=at)

    @event(AttributeDefined)
    def _attribute_defined(self, definition: AttributeDefinition, defined_at: datetime) -> None:
        self.own[definition.key] = definition


def catalogue_id(tenant: str) -> UUID:
    """The catalogue of a tenant."""
    return natural_id(tenant, "attribute catalogue")


def _require_sound(definition: AttributeDefinition) -> None:
    if (definition.type is AttributeType.ENUM) != bool(definition.enum):
        error = FieldRequired if definition.type is AttributeType.ENUM else TypeMismatch
        raise error("an enum has values, and nothing else has", field="definition.enum_values")
    if definition.merge_policy is MergePolicy.UNION and definition.type not in LISTS:
        raise TypeMismatch("only lists can be united", field="definition.merge_policy")
    if definition.sensitive and not definition.pii:
        raise BadFormat("what is sensitive is personal", field="definition.pii")


def _require_compatible(known: AttributeDefinition, new: AttributeDefinition) -> None:
    """A preset one stays as it is; of another the values that are there must fit, and stay sealed or plain as they are."""
    grown = set(new.enum) >= set(known.enum)
    if known.key in PRESET or (known.type, known.pii) != (new.type, new.pii) or not grown:
        raise AttributeKeyTaken(field="definition.key")
