"""Personal data as those see it who may not: enough to recognise what they know, not enough to learn what they do not."""

from dataclasses import replace
from typing import Final

from services.identity.domain.attribute_forms import Address, Value
from services.identity.domain.attributes import AttributeType

HIDDEN: Final = "***"
_PHONE_TAIL: Final = 4
_PHONE_HEAD: Final = 3
_SHORTEST_PHONE: Final = 10
_COUNTRY_CODE_OF_CHINA: Final = "+86"


def masked(kind: AttributeType, value: Value) -> Value | None:
    """`value` with what tells somebody's identity hidden; None where nothing can be shown."""
    match kind, value:
        case AttributeType.TEXT, str():
            return masked_text(value)
        case AttributeType.LIST, tuple():
            return tuple(masked_text(it) for it in value if isinstance(it, str))
        case AttributeType.ADDRESS, Address():
            return masked_address(value)
        case AttributeType.ADDRESS_LIST, tuple():
            return tuple(masked_address(it) for it in value if isinstance(it, Address))
        case AttributeType.DATE, str():
            return "****-**-**"
    return None


def masked_text(text: str) -> str:
    """The first character: 李***."""
    return text[:1] + HIDDEN


def masked_phone(e164: str) -> str:
    """138****0001 of +8613800000001; with its plus sign for other countries. Of a short one the last two digits."""
    national = e164.removeprefix(_COUNTRY_CODE_OF_CHINA)
    if len(national) < _SHORTEST_PHONE:
        return HIDDEN + national[-2:]
    head = _PHONE_HEAD + (national[:1] == "+")
    return national[:head] + "*" * (len(national) - head - _PHONE_TAIL) + national[-_PHONE_TAIL:]


def masked_address(address: Address) -> Address:
    """Country, region and city."""
    return replace(
        address,
        district=address.district and HIDDEN,
        street=address.street and HIDDEN,
        postal_code=address.postal_code and HIDDEN,
    )
