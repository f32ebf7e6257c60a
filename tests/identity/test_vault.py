"""The vault: values are sealed under the key of their node, keys under the key of the tenant, and erasing is for ever."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import sqlalchemy as sa
from cryptography.exceptions import InvalidTag

from chassis.commands import Effect, Unit, UnitOfWork
from chassis.context import entered
from chassis.event_store import PostgresEventStore
from chassis.key_file import KeyFile
from services.identity.adapters.key_table import rewrap
from services.identity.adapters.unsealing import Unsealer
from services.identity.application.merge_commands import Side
from services.identity.application.vault import KeyWrap, Vault
from services.identity.domain.customer import Customer
from services.identity.domain.errors import CustomerErased, NoUsableIdentifier
from services.identity.domain.sealing import DataKey, Place, SealBroken, SealedValue
from tests.identity.brand import ROOT, ROOT_KEY, Brand, anonymous, email, phone
from tests.identity.keys import key_tables, stored_keys

NEW_ROOT = b"another root key of 32 bytes...."


def test_the_value_of_an_identifier_is_kept_sealed(brand: Brand) -> None:
    found = brand.resolve(phone(1), email("jane"))

    assert values(brand, found.customer_id) == {"+8613800000001", "jane@example.com"}
    assert b"13800000001" not in repr(brand.events(Customer.Registered)).encode()


def test_a_value_is_sealed_for_the_node_it_came_to_and_merges_leave_it_there(brand: Brand) -> None:
    visitor = brand.resolve(anonymous("a")).customer_id
    known = brand.resolve(phone(1)).customer_id
    brand.resolve(anonymous("a"), phone(1))

    linked = brand.customer(known).identifiers.values()
    assert {it.node for it in linked} == {visitor, known}
    assert values(brand, known) == {"a", "+8613800000001"}


def test_what_goes_to_another_node_as_a_merge_is_taken_back_is_sealed_for_that_node(brand: Brand) -> None:
    one, other = brand.resolve(phone(1)).customer_id, brand.resolve(phone(2)).customer_id
    merge = brand.merge(one, other)
    brand.unmerge(merge, (phone(2), Side.SURVIVOR))

    assert values(brand, one) == {"+8613800000001", "+8613800000002"}
    assert values(brand, other) == set()


def test_the_same_batch_uses_the_key_that_it_has_just_made(brand: Brand) -> None:
    brand.batch(brand.call(anonymous("a")), brand.call(anonymous("a"), phone(1)), brand.call(phone(1), email("x")))

    (customer,) = brand.customers()
    assert values(brand, customer.id) == {"a", "+8613800000001", "x@example.com"}


def test_a_refused_command_leaves_no_key_and_those_after_it_make_their_own(brand: Brand) -> None:
    node = uuid4()

    def seal_and_refuse(work: UnitOfWork) -> None:
        brand.vault.seal(work, node, "name", "Jane")
        raise NoUsableIdentifier

    def seal(work: UnitOfWork) -> bytes:
        return brand.vault.seal(work, node, "name", "Jane")

    with pytest.raises(NoUsableIdentifier):
        effect(brand, seal_and_refuse)
    assert brand.data_key(node) is None

    sealed = effect(brand, seal)
    assert brand.opened(node, "name", sealed) == "Jane"


def test_a_refused_item_leaves_no_key(brand: Brand) -> None:
    refused_id = uuid4()

    def some(work: UnitOfWork) -> list[object]:
        def seal(text: str) -> bytes:
            sealed = brand.vault.seal(work, refused_id, "name", text)
            if text == "no":
                raise NoUsableIdentifier
            return sealed

        return list(work.each(["no", "yes"], seal))

    refusal, sealed = effect(brand, some)
    assert isinstance(refusal, NoUsableIdentifier)
    assert brand.opened(refused_id, "name", sealed) == "yes"


def test_an_erased_node_reads_as_nothing_and_takes_nothing(brand: Brand) -> None:
    node = brand.resolve(phone(1)).customer_id
    (linked,) = brand.customer(node).identifiers.values()

    effect(brand, lambda work: brand.vault.destroy(work, [node]))

    assert brand.opened(node, linked.sealed_as, linked.sealed) is None
    with pytest.raises(CustomerErased):
        effect(brand, lambda work: brand.vault.seal(work, node, "name", "Jane"))


def test_a_node_without_a_key_can_be_erased_too(brand: Brand) -> None:
    node = uuid4()
    effect(brand, lambda work: brand.vault.destroy(work, [node]))

    with pytest.raises(CustomerErased):
        effect(brand, lambda work: brand.vault.seal(work, node, "name", "Jane"))


def test_another_process_does_not_read_what_was_erased(brand: Brand) -> None:
    """What it remembers of keys is only used to seal."""
    other = Vault(KeyWrap(ROOT_KEY), key_tables(brand.bus.store))
    node = brand.resolve(phone(1)).customer_id
    (linked,) = brand.customer(node).identifiers.values()
    effect(brand, lambda work: other.seal(work, node, "name", "Jane"))

    effect(brand, lambda work: brand.vault.destroy(work, [node]))

    assert brand.opened(node, linked.sealed_as, linked.sealed) is None


@pytest.mark.parametrize("spoil", ["tenant", "node", "field", "byte", "version"])
def test_a_seal_opens_only_where_it_was_made(spoil: str) -> None:
    key, place = DataKey(b"k" * 32), Place("acme", UUID(int=1), "name")
    sealed = key.seal("Jane", place)
    other = {
        "tenant": (sealed, Place("globex", place.node, place.field)),
        "node": (sealed, Place("acme", UUID(int=2), place.field)),
        "field": (sealed, Place("acme", place.node, "nickname")),
        "byte": (sealed[:-1] + bytes([sealed[-1] ^ 1]), place),
        "version": (b"\x02" + sealed[1:], place),
    }

    assert key.open(sealed, place) == "Jane"
    with pytest.raises(SealBroken):
        key.open(*other[spoil])


def test_the_same_value_is_never_sealed_the_same_way() -> None:
    key, place = DataKey(b"k" * 32), Place("acme", UUID(int=1), "name")
    assert key.seal("Jane", place) != key.seal("Jane", place)


def test_tenants_have_keys_of_their_own() -> None:
    wrap, node = KeyWrap(ROOT_KEY), uuid4()
    wrapped = wrap.wrap("acme", node, b"k" * 32)

    assert wrap.unwrap("acme", node, wrapped) == b"k" * 32
    with pytest.raises(InvalidTag):
        wrap.unwrap("globex", node, wrapped)
    with pytest.raises(InvalidTag):
        wrap.unwrap("acme", uuid4(), wrapped)


def test_after_rotation_the_old_root_key_is_not_needed(postgres_brand: Brand) -> None:
    brand, store = postgres_brand, postgres_brand.bus.store
    assert isinstance(store, PostgresEventStore)
    erased, node = (brand.resolve(phone(it)).customer_id for it in (1, 2))
    effect(brand, lambda work: brand.vault.destroy(work, [erased]))
    both = KeyFile("2", {"1": ROOT, "2": NEW_ROOT})

    assert rewrap(store.engine, KeyWrap(both)) == 1
    assert rewrap(store.engine, KeyWrap(both)) == 0

    only_new = KeyWrap(KeyFile("2", {"2": NEW_ROOT}))
    stored = stored_keys(store, brand.tenant, [node, erased])
    (linked,) = brand.customer(node).identifiers.values()
    key = only_new.unwrap(brand.tenant, node, stored[node])
    assert key is not None
    assert DataKey(key).open(linked.sealed, Place(brand.tenant, node, linked.sealed_as)) == "+8613800000002"
    assert stored[erased].wrapped is None


def test_who_may_read_opens_many_values_with_one_query(postgres_brand: Brand) -> None:
    brand, store = postgres_brand, postgres_brand.bus.store
    assert isinstance(store, PostgresEventStore)
    erased, node = (brand.resolve(phone(it)).customer_id for it in (1, 2))
    sealed = [
        SealedValue(it.node, it.sealed_as, it.sealed)
        for customer in (erased, node)
        for it in brand.customer(customer).identifiers.values()
    ]
    effect(brand, lambda work: brand.vault.destroy(work, [erased]))
    statements: list[str] = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *it: statements.append(it[2]))

    with store.engine.connect() as rows, entered(brand.context()):
        assert Unsealer(KeyWrap(ROOT_KEY)).open(rows, sealed) == [None, "+8613800000002"]
    assert len(statements) == 1


def test_the_reader_sees_no_keys_of_another_tenant(postgres_brand: Brand, reader_dsn: str) -> None:
    postgres_brand.resolve(phone(1))

    def seen(tenant: str) -> int:
        with psycopg.connect(reader_dsn) as rows:
            rows.execute("SELECT set_config('scrm.tenant', %s, true)", [tenant])
            return len(rows.execute("SELECT * FROM data_keys").fetchall())

    assert (seen(postgres_brand.tenant), seen("globex")) == (1, 0)


def values(brand: Brand, customer: UUID) -> set[str | None]:
    """What the identifiers of the customer read as."""
    linked = brand.customer(customer).identifiers.values()
    return {brand.opened(it.node, it.sealed_as, it.sealed) for it in linked}


def effect(brand: Brand, carry_out: Callable[[UnitOfWork], Any]) -> Any:
    (outcome,) = brand.bus.run_now(Unit([(brand.context(), Effect(carry_out))]))
    if outcome.error is not None:
        raise outcome.error
    return outcome.result
