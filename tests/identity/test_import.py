"""Customers that another system knows are brought in row by row: each creates one or finds the one it is about."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from chassis.errors import DomainError
from chassis.event_store import PostgresEventStore, PostgresTransaction
from scrm.identity.v1 import attribute_pb2
from scrm.identity.v1 import identity_service_pb2 as pb
from services.identity.application.import_commands import ImportCustomers, ImportRow
from services.identity.application.resolving import Resolution
from services.identity.domain.customer import CustomerState
from services.identity.domain.errors import CustomerIdMismatch, CustomerIdTaken, NoUsableIdentifier, UnknownAttribute
from services.identity.domain.identifiers import DropReason
from tests.identity import test_grpc
from tests.identity.brand import Brand, Given, anonymous, drops, email, phone, unionid, verified
from tests.identity.people import IMPORT, says, value
from tests.identity.test_grpc import Caller, Serve, identifier

serve = test_grpc.serve

ONE, OTHER = UUID(int=1), UUID(int=2)

Row = tuple[UUID | None, Sequence[Given]]


def bring_in(brand: Brand, *rows: Row) -> Sequence[Resolution | DomainError]:
    commands = tuple(ImportRow(brand.call(*given, customer_id=id)) for id, given in rows)
    found: Sequence[Resolution | DomainError] = brand.do(ImportCustomers(commands))
    return found


def gist(results: Sequence[Resolution | DomainError]) -> list[tuple[str, UUID] | type[DomainError]]:
    return [type(it) if isinstance(it, DomainError) else (it.outcome.value, it.customer_id) for it in results]


def test_a_row_creates_a_customer_by_the_id_it_names(brand: Brand) -> None:
    found = bring_in(brand, (ONE, [phone(1)]), (OTHER, [anonymous("a")]))

    assert gist(found) == [("CREATED", ONE), ("CREATED", OTHER)]
    assert brand.customer(ONE).state is CustomerState.KNOWN
    assert brand.customer(OTHER).state is CustomerState.ANONYMOUS


def test_the_same_rows_again_change_nothing(brand: Brand) -> None:
    rows: list[Row] = [(ONE, [phone(1), email("a")]), (None, [phone(2)])]
    first = bring_in(brand, *rows)
    head = brand.bus.store.head()

    again = bring_in(brand, *rows)

    assert [it[0] for it in gist(again)] == ["MATCHED", "MATCHED"]  # type: ignore[index]
    assert [it.customer_id for it in again] == [it.customer_id for it in first]  # type: ignore[union-attr]
    assert brand.bus.store.head() == head


def test_a_row_finds_whom_its_identifiers_lead_to_and_adds_the_rest(brand: Brand) -> None:
    known = brand.resolve(phone(1)).customer_id

    assert gist(bring_in(brand, (None, [phone(1), email("a")]), (known, [unionid(1)]))) == [("EXTENDED", known)] * 2
    assert brand.owner(*email("a")) == brand.owner(*unionid(1)) == known


def test_an_id_that_nobody_has_is_not_given_to_somebody_else_s_identifiers(brand: Brand) -> None:
    known = brand.resolve(phone(1)).customer_id
    head = brand.bus.store.head()

    assert gist(bring_in(brand, (ONE, [phone(1), email("a")]))) == [CustomerIdMismatch]
    assert brand.bus.store.head() == head
    assert gist(bring_in(brand, (known, [phone(1)]))) == [("MATCHED", known)]


def test_what_leads_to_others_is_dropped_for_a_customer_who_is_there(brand: Brand) -> None:
    one, other = brand.resolve(phone(1)).customer_id, brand.resolve(phone(2)).customer_id

    (found,) = bring_in(brand, (one, [phone(2), email("a")]))

    assert gist([found]) == [("CONFLICT_RESOLVED", one)]
    assert drops(found) == [("phone", DropReason.CONFLICT), ("email", DropReason.CONFLICT)]
    assert brand.owner(*phone(2)) == other


def test_verified_identifiers_of_two_customers_make_them_one(brand: Brand) -> None:
    brand.resolve(phone(1))
    brand.resolve(email("a"))

    (found,) = bring_in(brand, (None, [verified(phone(1)), verified(email("a"))]))

    assert gist([found])[0][0] == "MERGED"  # type: ignore[index]


def test_the_id_of_another_brand_s_customer_is_taken(brand: Brand) -> None:
    Brand(brand.bus.store, "globex").resolve(phone(1), new_customer_id=ONE)

    assert gist(bring_in(brand, (ONE, [phone(1)]))) == [CustomerIdTaken]


def test_a_refused_row_spoils_no_other(brand: Brand) -> None:
    found = bring_in(brand, (ONE, [phone(1)]), (OTHER, [("phone", "null")]), (OTHER, [phone(1)]), (OTHER, [phone(2)]))

    assert gist(found) == [("CREATED", ONE), NoUsableIdentifier, CustomerIdMismatch, ("CREATED", OTHER)]
    assert {it.id for it in brand.customers()} == {ONE, OTHER}


def test_what_the_other_system_knows_comes_along(brand: Brand) -> None:
    known = brand.resolve(phone(1)).customer_id
    rows = (
        ImportRow(brand.call(phone(1)), (says("city", "Suzhou", IMPORT),)),
        ImportRow(brand.call(phone(2), customer_id=ONE), (says("name", "Ann", IMPORT), says("city", "Wuxi", IMPORT))),
        ImportRow(brand.call(phone(3))),
    )

    assert [it[0] for it in gist(brand.do(ImportCustomers(rows)))] == ["MATCHED", "CREATED", "CREATED"]  # type: ignore[index]

    assert value(brand, known, "city") == "Suzhou"
    assert (value(brand, ONE, "name"), value(brand, ONE, "city")) == ("Ann", "Wuxi")


def test_a_row_with_something_that_cannot_be_known_is_refused_as_a_whole(brand: Brand) -> None:
    head = brand.bus.store.head()
    row = ImportRow(brand.call(phone(1)), (says("city", "Suzhou", IMPORT), says("shoe", "42", IMPORT)))

    assert gist(brand.do(ImportCustomers((row,)))) == [UnknownAttribute]
    assert brand.bus.store.head() == head


def test_many_rows_take_as_many_queries_as_one(postgres_brand: Brand, monkeypatch: pytest.MonkeyPatch) -> None:
    store = postgres_brand.bus.store
    assert isinstance(store, PostgresEventStore)
    asked: list[str] = []
    ask = PostgresTransaction._ask

    def noted(self: PostgresTransaction, query: Any, of: Any) -> Any:
        asked.append(query)
        return ask(self, query, of)

    monkeypatch.setattr(PostgresTransaction, "_ask", noted)
    sa.event.listen(store.engine, "before_cursor_execute", lambda *it: asked.append(it[2]))

    def batch(*numbers: int) -> list[str]:
        brand = Brand(store)  # one that remembers nothing
        rows = [
            row
            for it in numbers
            for row in (
                ImportRow(brand.call(phone(it)), (says("name", "Ann", IMPORT), says("city", "Wuxi", IMPORT))),
                ImportRow(brand.call(phone(it + 100), customer_id=UUID(int=it)), (says("city", "Wuxi", IMPORT),)),
                ImportRow(brand.call(phone(it + 200), anonymous(f"a{it}"))),
            )
        ]
        asked.clear()
        assert not any(isinstance(it, DomainError) for it in brand.do(ImportCustomers(tuple(rows))))
        return list(asked)

    assert batch(1) == batch(*range(2, 40))


def test_a_thousand_rows_have_a_status_each(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        rows = [
            pb.ImportRow(identifiers=[test_grpc.phone(number)], assignment_key=f"old:{number}") for number in range(999)
        ]
        rows.insert(500, pb.ImportRow(identifiers=[identifier("phone", "12")]))
        said = attribute_pb2.AttributeValue(text="Suzhou")
        rows[0].values.add(key="city", source=attribute_pb2.ATTRIBUTE_SOURCE_IMPORT, value=said)
        request = pb.ImportCustomersRequest(request_id=str(uuid4()), rows=rows)

        answer = await caller.call("ImportCustomers", request)

        assert [place for place, it in enumerate(answer.results) if it.status.code] == [500]
        assert {it.outcome for it in answer.results} == {pb.OUTCOME_CREATED, pb.OUTCOME_UNSPECIFIED}
        assert await caller.call("ImportCustomers", request) == answer
        named = answer.results[-1].customer_id
        got = await caller.call("GetCustomer", pb.GetCustomerRequest(customer_id=named))
        assert got.customer.assignment_key == "old:998"
        asked = pb.GetAttributesRequest(customer_id=answer.results[0].customer_id)
        assert [it.key for it in (await caller.call("GetAttributes", asked)).attributes] == ["city"]
        request.request_id = str(uuid4())
        request.rows.append(rows[0])
        assert (await caller.refused("ImportCustomers", request)).code == "INVALID_ARGUMENT"

    serve(check)
