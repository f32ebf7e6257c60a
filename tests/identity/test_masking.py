"""What those see of personal data who may not see it."""

import pytest

from services.identity.domain.attribute_forms import Address, Value
from services.identity.domain.attributes import AttributeType
from services.identity.domain.masking import masked, masked_phone


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        ("+8613800000001", "138****0001"),
        ("+861012345678", "101***5678"),
        ("+4915112345678", "+491******5678"),
        ("+12025550123", "+120****0123"),
    ],
)
def test_a_phone_number_shows_its_ends(number: str, shown: str) -> None:
    assert masked_phone(number) == shown


def test_no_phone_number_is_short_enough_to_be_shown() -> None:
    for length in range(7, 16):
        number = "+" + "123456789012345"[:length]
        shown = [it for it in masked_phone(number) if it.isdigit()]
        assert "*" in masked_phone(number)
        assert len(shown) <= max(length - 2, 2)


@pytest.mark.parametrize(
    ("kind", "value", "shown"),
    [
        (AttributeType.TEXT, "李伟", "李***"),
        (AttributeType.LIST, ("tea", "go"), ("t***", "g***")),
        (AttributeType.DATE, "1990-05-01", "****-**-**"),
        (AttributeType.ADDRESS, Address("CN", street="1 Huaihai Rd"), Address("CN", street="***")),
        (AttributeType.ENUM, "DRY", None),
        (AttributeType.NUMBER, 42.0, None),
        (AttributeType.BOOL, True, None),
    ],
)
def test_a_value_shows_what_its_type_allows(kind: AttributeType, value: Value, shown: Value | None) -> None:
    assert masked(kind, value) == shown
