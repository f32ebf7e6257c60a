"""The attributes of a person: which there are, of which type, from which sources, and how one value is made of many.

The preset ones every brand has; a brand may define more. A value that tells who somebody is (`pii`) is kept sealed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class AttributeType(StrEnum):
    """What values look like. DATE is `YYYY-MM-DD`, or `--MM-DD` where the year is unknown."""

    TEXT = "TEXT"
    ENUM = "ENUM"
    DATE = "DATE"
    NUMBER = "NUMBER"
    BOOL = "BOOL"
    INSTANT = "INSTANT"
    LIST = "LIST"
    ADDRESS = "ADDRESS"
    ADDRESS_LIST = "ADDRESS_LIST"
    TIME_ZONE = "TIME_ZONE"
    LANGUAGE = "LANGUAGE"


LISTS: Final = frozenset({AttributeType.LIST, AttributeType.ADDRESS_LIST})


class AttributeSource(StrEnum):
    """Where a value comes from."""

    CUSTOMER_DECLARED = "CUSTOMER_DECLARED"
    STAFF_VERIFIED = "STAFF_VERIFIED"
    ORDER = "ORDER"
    WECHAT_AUTH = "WECHAT_AUTH"
    SERVICE_CHAT = "SERVICE_CHAT"
    COMMUNITY = "COMMUNITY"
    IMPORT = "IMPORT"
    INFERRED = "INFERRED"


RANKS: Final[Mapping[AttributeSource, int]] = MappingProxyType(
    {
        AttributeSource.CUSTOMER_DECLARED: 50,
        AttributeSource.STAFF_VERIFIED: 40,
        AttributeSource.ORDER: 35,
        AttributeSource.WECHAT_AUTH: 30,
        AttributeSource.SERVICE_CHAT: 25,
        AttributeSource.COMMUNITY: 20,
        AttributeSource.IMPORT: 15,
        AttributeSource.INFERRED: 5,
    }
)
"""How much a source is believed: the highest decides."""


class MergePolicy(StrEnum):
    """How one value is made of many: that of the best source, the newest whatever its source, or all items of all lists."""

    BEST_SOURCE = "BEST_SOURCE"
    NEWEST = "NEWEST"
    UNION = "UNION"


@dataclass(frozen=True, slots=True)
class AttributeDefinition:
    """One attribute; `enum` has the values of an ENUM. A `sensitive` one may be inferred only with consent."""

    key: str
    type: AttributeType
    pii: bool
    enum: tuple[str, ...] = ()
    merge_policy: MergePolicy = MergePolicy.BEST_SOURCE
    sensitive: bool = False


BIRTHDATE: Final = "birthdate"
AGE_BAND: Final = "age_band"
UNDER_14: Final = "UNDER_14"

_AGES: Final = (UNDER_14, "AGE_14_17", "AGE_18_24", "AGE_25_34", "AGE_35_44", "AGE_45_54", "AGE_55_64", "AGE_65_UP")


def _one(key: str, kind: AttributeType, *enum: str, pii: bool = False) -> AttributeDefinition:
    policy = MergePolicy.UNION if kind in LISTS else MergePolicy.BEST_SOURCE
    return AttributeDefinition(key, kind, pii, enum, policy)


PRESET: Final[Mapping[str, AttributeDefinition]] = MappingProxyType(
    {
        it.key: it
        for it in (
            _one("name", AttributeType.TEXT, pii=True),
            _one("nickname", AttributeType.TEXT, pii=True),
            _one("avatar", AttributeType.TEXT, pii=True),
            _one("gender", AttributeType.ENUM, "FEMALE", "MALE", "OTHER"),
            _one(BIRTHDATE, AttributeType.DATE, pii=True),
            _one(AGE_BAND, AttributeType.ENUM, *_AGES),
            _one("region", AttributeType.TEXT),
            _one("city", AttributeType.TEXT),
            _one("address", AttributeType.ADDRESS_LIST, pii=True),
            _one("occupation", AttributeType.TEXT, pii=True),
            _one("family.has_child", AttributeType.BOOL),
            _one("family.household_size", AttributeType.NUMBER),
            _one("hobbies", AttributeType.LIST),
            _one("interests", AttributeType.LIST),
            _one("knowledge_level", AttributeType.ENUM, "BEGINNER", "INTERMEDIATE", "EXPERT"),
            _one("preferences", AttributeType.LIST),
            _one("timezone", AttributeType.TIME_ZONE),
            _one("language", AttributeType.LANGUAGE),
            _one("acquisition.channel", AttributeType.TEXT),
            _one("acquisition.store", AttributeType.TEXT),
            _one("acquisition.staff", AttributeType.TEXT),
            _one("acquisition.campaign", AttributeType.TEXT),
            _one("acquisition.first_touch_at", AttributeType.INSTANT),
            _one("product_usage.purpose", AttributeType.TEXT, pii=True),
            _one("product_usage.method", AttributeType.TEXT, pii=True),
            _one("product_usage.scenario", AttributeType.TEXT, pii=True),
            _one("product_usage.experience", AttributeType.TEXT, pii=True),
            _one("purchase_motive", AttributeType.TEXT, pii=True),
            _one("satisfaction_points", AttributeType.LIST, pii=True),
        )
    }
)
"""What every brand has. Free text is personal: nobody knows what will be in it."""
