"""What holds after any calls whatever: nobody has more than a person has, and claims and customers tell the same story."""

from collections import Counter
from random import Random
from uuid import UUID

import pytest

from chassis.event_store import MemoryEventStore
from services.identity.application.resolving import Resolution
from services.identity.domain.claim import ClaimState, IdentifierClaim
from services.identity.domain.customer import Customer, CustomerState
from services.identity.domain.identifiers import GivenIdentifier, IdentifierKey
from services.identity.domain.namespaces import NAMESPACES
from services.identity.domain.resolution import MOST_LINKED
from tests.identity.brand import Brand, Given
from tests.identity.test_order_independence import assert_consistent

POOL: list[tuple[str, str]] = [
    *(("member_no", f"MEMBER-{it}") for it in range(4)),
    *(("wechat_unionid", f"unionid-{it:020}") for it in range(6)),
    *(("phone", f"+86138000000{it:02}") for it in range(10)),
    *(("email", f"p{it}@x.com") for it in range(10)),
    *(("external_id", f"x{it}") for it in range(12)),
    *(("device_id", f"d{it}") for it in range(16)),
    *(("anonymous_id", f"a{it}") for it in range(60)),
]


def chaos(brand: Brand, seed: int, calls: int = 200) -> list[Resolution]:
    """Calls of people who share everything, some proven and some not."""
    random = Random(seed)
    made = []
    for _ in range(calls):
        identifiers: list[Given] = list(random.sample(POOL, random.randint(1, 5)))
        made.append(brand.call(*identifiers, authenticated=random.random() < 0.5))
    results = [it for start in range(0, calls, 50) for it in brand.batch(*made[start : start + 50])]
    return [it for it in results if isinstance(it, Resolution)]


@pytest.mark.parametrize("seed", range(4))
def test_after_any_calls_everything_is_consistent(seed: int) -> None:
    brand = Brand(MemoryEventStore())

    resolutions = chaos(brand, seed)

    assert {it.outcome.value for it in resolutions} >= {"CREATED", "MATCHED", "EXTENDED", "CONFLICT_RESOLVED"}
    assert_consistent(brand)
    claims = claims_by_owner(brand)
    for customer in brand.customers():
        assert_within_limits(customer)
        assert_state_fits(customer)
        assert_claims_agree(claims, customer)


def assert_within_limits(customer: Customer) -> None:
    counts = Counter((it.namespace, it.scope) for it in customer.identifiers.values())
    assert sum(counts.values()) <= MOST_LINKED
    for (namespace, _), count in counts.items():
        assert count <= NAMESPACES[namespace].limit.count


def assert_state_fits(customer: Customer) -> None:
    has_strong = any(NAMESPACES[it.namespace].strong for it in customer.identifiers.values())
    assert customer.state in (CustomerState.ANONYMOUS, CustomerState.KNOWN)
    assert customer.is_known or not has_strong


def assert_claims_agree(claims: dict[UUID | None, set[IdentifierKey]], customer: Customer) -> None:
    """Whoever a claim leads to has the identifier; only what no longer leads to anybody may linger with a customer."""
    leading = claims.get(customer.id, set())
    assert leading <= customer.identifiers.keys()
    assert customer.identifiers.keys() - leading <= claims.get(None, set())


def claims_by_owner(brand: Brand) -> dict[UUID | None, set[IdentifierKey]]:
    """The identifiers that lead to each customer; those that are shared or blocked under None."""
    claimed = {(it.namespace, it.scope, it.value_hmac) for it in brand.events(IdentifierClaim.Claimed)}
    found: dict[UUID | None, set[IdentifierKey]] = {}
    for it in POOL:
        (identifier,) = brand.reader.read(brand.tenant, [GivenIdentifier(*it)]).identifiers
        if identifier.key in claimed and brand.claim(*it).state is not ClaimState.FREE:
            found.setdefault(brand.owner(*it), set()).add(identifier.key)
    return found
