"""The read model of attributes: what it shows, that a rebuild gives the same rows, and that no order of the log spoils them."""

from collections.abc import Mapping
from datetime import timedelta
from random import Random
from uuid import UUID

import sqlalchemy as sa

from chassis.context import entered
from chassis.errors import DomainError
from chassis.testing import recorded
from services.identity.adapters.attribute_reading import resolved_attributes
from services.identity.adapters.unsealing import Unsealer
from services.identity.application.consent_commands import SetChannelReachability
from services.identity.domain.attributes import AttributeDefinition, AttributeSource, AttributeType, MergePolicy
from services.identity.domain.survivorship import Resolved
from services.identity.read_models.attribute_values import (
    TRAITS,
    definitions_in,
    minors_among,
    traits_of,
    values_of,
)
from services.identity.read_models.customer_directory import nodes_with
from tests.identity.brand import NOON, Brand, phone
from tests.identity.people import IMPORT, STAFF, WECHAT, defined, forgotten, kept, resolved, says, told
from tests.identity.test_read_models import Reading, apply_anew, interleaved, reading

__all__ = ["reading"]

PEOPLE = 8
SAID = {
    "name": ("Ann", "Anna", "李伟"),
    "city": ("Suzhou", "Wuxi"),
    "birthdate": ("1990-05-01", "2015-01-01", "--05-01"),
    "hobbies": (("tea", "go"), ("go", "opera")),
}


def populate(brand: Brand, seed: int = 1, times: int = 60) -> list[UUID]:
    """Sources say things of people, who are merged and parted, come and leave the official account; the nodes."""
    random = Random(seed)
    nodes = [brand.resolve(phone(it)).customer_id for it in range(PEOPLE)]
    merges: list[UUID] = []
    for _ in range(times):
        brand.clock.set(brand.clock.now() + timedelta(minutes=1))
        node, key = random.choice(nodes), random.choice(list(SAID))
        value = None if random.random() < 0.1 else random.choice(SAID[key])
        at = brand.clock.now() - timedelta(minutes=random.randrange(5))
        try:
            told(brand, node, says(key, value, random.choice([STAFF, IMPORT, WECHAT]), at))
            if random.random() < 0.1:
                brand.do(SetChannelReachability(node, "OA", random.random() < 0.3, "UNFOLLOWED"))
            if random.random() < 0.1:
                merges.append(brand.merge(*random.sample(nodes, 2)))
            elif merges and random.random() < 0.1:
                brand.unmerge(merges.pop())
        except DomainError as refusal:
            assert refusal.reason in {"SAME_CUSTOMER", "NEVER_MERGE"}  # noqa: PT017 (the two were one, or must not be)
    return nodes


def shown(reading: Reading, node: UUID) -> Mapping[str, Resolved]:
    """What counts for the customer of `node`, out of the read models."""

    def ask(rows: sa.Connection) -> list[Resolved]:
        with entered(reading.brand.context()):
            return resolved_attributes(rows, Unsealer(reading.brand.wrap), nodes_with(rows, node))

    return {it.definition.key: it for it in reading.read_models.query_now(ask, reading.brand.tenant)}


def test_the_read_model_shows_what_the_event_store_knows(reading: Reading) -> None:
    nodes = populate(reading.brand)
    reading.follow()
    known = {node: resolved(reading.brand, node) for node in nodes}
    assert {node: shown(reading, node) for node in nodes} == known
    assert {key for it in known.values() for key in it} == set(SAID)

    minors = reading.read_models.query_now(lambda rows: minors_among(rows, nodes), "acme")
    assert minors == {it.node for node in nodes for it in kept(reading.brand, node).of_nodes if it.minor}
    assert minors


def test_a_rebuild_gives_the_same_rows_as_following(reading: Reading) -> None:
    for seed in range(3):
        populate(reading.brand, seed, times=25)
        defined(reading.brand, AttributeDefinition(f"own_{seed}", AttributeType.BOOL, pii=False))
        reading.follow(batch_limit=7)
    live = reading.hashes()
    reading.rebuild()
    assert reading.hashes() == live


def test_it_does_not_matter_how_the_log_interleaves_nodes(reading: Reading) -> None:
    populate(reading.brand)
    reading.follow()
    live = reading.hashes()[-1]
    apply_anew(reading, interleaved(recorded(reading.brand.bus), Random(1)))
    assert reading.hashes()[-1] == live


def test_personal_values_are_not_readable_in_the_rows_and_gone_with_their_key(reading: Reading) -> None:
    brand = reading.brand
    node = brand.resolve(phone(1)).customer_id
    told(brand, node, says("name", "Ann"), says("city", "Suzhou"), says("nickname", "Leo", WECHAT))
    reading.follow()
    rows = reading.read_models.query_now(lambda rows: values_of(rows, [node]), "acme")
    assert {it.key: it.text for it in rows} == {"name": None, "city": "Suzhou", "nickname": None}
    assert set(shown(reading, node)) == {"name", "city", "nickname"}
    forgotten(brand, node)
    assert set(shown(reading, node)) == {"city"}


def test_the_traits_of_a_node_are_the_best_of_what_is_known(reading: Reading) -> None:
    brand = reading.brand
    a, b = (brand.resolve(phone(it)).customer_id for it in range(2))
    told(brand, a, says("name", "Ann", STAFF), says("name", "Anna", IMPORT), says("gender", "FEMALE"))
    told(brand, b, says("city", "Suzhou"), says("birthdate", "1990-05-01", at=NOON))
    reading.follow()
    found = reading.read_models.query_now(lambda rows: traits_of(rows, [a, b]), "acme")
    assert {node: set(it) for node, it in found.items()} == {a: {"name", "gender"}, b: {"birthdate"}}
    name = found[a]["name"]
    assert (name.source, name.sealed_for) == (AttributeSource.STAFF_VERIFIED, a)
    assert brand.opened(a, "attribute.name", name.sealed or b"") == "Ann"
    assert found[a]["gender"].text == "FEMALE"
    assert set(TRAITS) >= {"name", "birthdate", "gender", "address"}


def test_own_definitions_are_shown_beside_the_preset_ones_to_their_tenant(reading: Reading) -> None:
    mood = AttributeDefinition("mood", AttributeType.ENUM, pii=True, enum=("LOW",), sensitive=True)
    defined(reading.brand, mood)
    grown = AttributeDefinition(
        "mood", AttributeType.ENUM, pii=True, enum=("LOW", "HIGH"), merge_policy=MergePolicy.NEWEST
    )
    defined(reading.brand, grown)
    reading.follow()
    ours = reading.read_models.query_now(definitions_in, "acme")
    assert ours["mood"] == grown
    assert ours["name"].pii
    assert "mood" not in reading.read_models.query_now(definitions_in, "globex")
