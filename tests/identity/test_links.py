"""What staff says of one identifier: LinkIdentifier and UnlinkIdentifier (ID-2)."""

from services.identity.domain.customer import CustomerState
from services.identity.domain.errors import (
    CustomerNotFound,
    IdentifierLimit,
    IdentifierNotFound,
    IdentifierTaken,
    IdentifierUnusable,
)
from tests.identity.brand import Brand, anonymous, device, phone, refused, unionid


def test_a_linked_identifier_leads_to_the_customer(brand: Brand) -> None:
    known = brand.resolve(unionid(1)).customer_id

    brand.link(known, phone(1))

    assert brand.owner(*phone(1)) == known
    assert brand.resolve(phone(1)).customer_id == known


def test_linking_what_the_customer_has_changes_nothing(brand: Brand) -> None:
    known = brand.resolve(unionid(1), phone(1)).customer_id
    before = brand.bus.store.head()

    brand.link(known, phone(1))

    assert brand.bus.store.head() == before


def test_a_strong_identifier_makes_an_anonymous_customer_known(brand: Brand) -> None:
    visitor = brand.resolve(anonymous("a")).customer_id

    assert brand.link(visitor, phone(1)).state is CustomerState.KNOWN
    assert len(brand.published("CustomerBecameKnown")) == 1


def test_an_identifier_of_somebody_else_isrefused(brand: Brand) -> None:
    owner = brand.resolve(phone(1)).customer_id
    other = brand.resolve(unionid(1)).customer_id

    refused(brand, IdentifierTaken, lambda: brand.link(other, phone(1)))
    assert brand.owner(*phone(1)) == owner


def test_more_than_one_person_has_isrefused(brand: Brand) -> None:
    known = brand.resolve(unionid(1), phone(1), phone(2)).customer_id

    refused(brand, IdentifierLimit, lambda: brand.link(known, phone(3)))
    refused(brand, IdentifierLimit, lambda: brand.link(known, unionid(2)))


def test_placeholders_and_shared_devices_arerefused(brand: Brand) -> None:
    known = [brand.resolve(phone(number)).customer_id for number in range(6)]
    for number in range(5):
        brand.resolve(phone(number), device("ipad"), authenticated=True)

    refused(brand, IdentifierUnusable, lambda: brand.link(known[5], device("ipad")))
    refused(brand, IdentifierUnusable, lambda: brand.link(known[5], device("null")))


def test_an_unlinked_identifier_is_nobodys(brand: Brand) -> None:
    known = brand.resolve(unionid(1), phone(1)).customer_id

    brand.unlink(known, phone(1))

    assert brand.owner(*phone(1)) is None
    assert brand.resolve(phone(1)).customer_id != known


def test_an_identifier_can_be_given_back_to_whom_it_was_taken_from(brand: Brand) -> None:
    """Also one of which a person has one ever: it is the same one."""
    known = brand.resolve(unionid(1), phone(1)).customer_id
    brand.unlink(known, unionid(1))
    refused(brand, IdentifierLimit, lambda: brand.link(known, unionid(2)))

    brand.link(known, unionid(1))

    assert brand.owner(*unionid(1)) == known


def test_only_what_the_customer_has_can_be_unlinked(brand: Brand) -> None:
    brand.resolve(phone(1))
    other = brand.resolve(unionid(1)).customer_id

    refused(brand, IdentifierNotFound, lambda: brand.unlink(other, phone(1)))
    refused(brand, IdentifierNotFound, lambda: brand.unlink(other, phone(2)))


def test_nobody_is_not_found(brand: Brand) -> None:
    nobody = brand.claim(*phone(1)).id if brand.resolve(phone(1)) else None
    assert nobody is not None

    refused(brand, CustomerNotFound, lambda: brand.link(nobody, phone(2)))
    refused(brand, CustomerNotFound, lambda: brand.unlink(nobody, phone(1)))
