"""Callers bound to stores: what they may do with the customers of their own guides, with those of others, and with nobody."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from google.protobuf import message_factory

from chassis.context import entered
from chassis.errors import StoreScope
from scrm.identity.v1 import engagement_service_pb2 as engagement
from scrm.identity.v1 import identity_service_pb2 as identity
from scrm.identity.v1 import privacy_service_pb2 as privacy
from services.identity.adapters.store_bounds import RULES
from services.identity.application.lead_commands import OpenLead
from services.identity.application.work_order_commands import About, CreateWorkOrder
from services.identity.domain.lead import Prospect
from services.identity.domain.work_order import Priority
from tests.identity.brand import Brand, phone
from tests.identity.staffing import Staffing

SERVICES = (
    identity.DESCRIPTOR.services_by_name["IdentityService"],
    privacy.DESCRIPTOR.services_by_name["PrivacyService"],
    engagement.DESCRIPTOR.services_by_name["EngagementService"],
)
REQUESTS = {it.name: message_factory.GetMessageClass(it.input_type) for service in SERVICES for it in service.methods}
OPEN = {
    *("GetCustomer", "ListCustomers", "LookupCustomer", "ResolveIdentity"),  # which look themselves, or tell of nobody
    *("GetIdentityStatistics", "GetWorkOrderStatistics", "GetIssueBoard"),
    *("ListAttributeDefinitions", "GetNamespaceConfig", "ListNamespaces", "GetAnonymousLifetime", "GetServiceHours"),
}
"""RPCs that let somebody pass who is bound to stores and names no customer of theirs."""


@dataclass(slots=True)
class Shops:
    """A customer of a guide in S1, with a work order and a lead, and one whom nobody looks after."""

    brand: Brand
    staffing: Staffing
    customer: UUID
    stranger: UUID
    guide: UUID
    work_order: UUID
    lead: UUID

    def passes(self, rpc: str, *stores: str, **fields: Any) -> bool:
        """Whether a caller bound to `stores` may make this request."""
        with entered(self.staffing.bound_to(*stores)):
            try:
                asyncio.run(RULES[rpc](self.brand.bus, REQUESTS[rpc](**fields)))  # type: ignore[arg-type]
            except StoreScope:
                return False
        return True


@pytest.fixture
def shops(brand: Brand) -> Shops:
    staffing = Staffing(brand)
    customer, stranger = brand.resolve(phone(1)).customer_id, brand.resolve(phone(2)).customer_id
    guide = staffing.hire("G1", "S1")
    staffing.hire("G2", "S2")
    staffing.assign(customer, guide)
    work_order = brand.do(CreateWorkOrder(About(customer, "COMPLAINT", Priority.P2, (), "", ""))).id
    lead = brand.do(OpenLead(Prospect(customer, "tea", 50, None))).id
    return Shops(brand, staffing, customer, stranger, guide, work_order, lead)


def naming(field: str) -> Sequence[str]:
    """The RPCs with a rule about whom this field of their requests names."""
    return [rpc for rpc, request in REQUESTS.items() if field in request.DESCRIPTOR.fields_by_name and rpc not in OPEN]


def test_every_rpc_has_a_rule() -> None:
    assert RULES.keys() == REQUESTS.keys()


def test_own_customers_are_served_and_others_are_as_if_they_were_not_there(shops: Shops) -> None:
    about_one = [it for it in naming("customer_id") if not it.endswith("NeverMerge")]
    assert len(about_one) > 15
    for rpc in about_one:
        assert shops.passes(rpc, "S1", customer_id=str(shops.customer)), rpc
        assert not shops.passes(rpc, "S2", customer_id=str(shops.customer)), rpc
        assert not shops.passes(rpc, "S1", customer_id=str(shops.stranger)), rpc
        assert not shops.passes(rpc, "S1", customer_id=str(uuid4())), rpc


@pytest.mark.parametrize("field", ["work_order_id", "lead_id"])
def test_so_are_their_work_orders_and_leads(shops: Shops, field: str) -> None:
    id = str(shops.work_order if field == "work_order_id" else shops.lead)
    for rpc in naming(field):
        assert shops.passes(rpc, "S1", **{field: id}), rpc
        assert not shops.passes(rpc, "S2", **{field: id}), rpc
        assert not shops.passes(rpc, "S1", **{field: str(uuid4())}), rpc


@pytest.mark.parametrize(("rpc", "field"), [("ListWorkOrders", "assignee_id"), ("ListLeads", "owner_id")])
def test_lists_are_of_an_own_customer_or_colleague(shops: Shops, rpc: str, field: str) -> None:
    assert shops.passes(rpc, "S1", **{field: str(shops.guide)})
    assert not shops.passes(rpc, "S2", **{field: str(shops.guide)})
    assert not shops.passes(rpc, "S1", **{field: str(uuid4())})
    assert not shops.passes(rpc, "S2", **{field: str(shops.guide)}, customer_id=str(shops.customer))


def test_whoever_names_nobody_of_theirs_passes_only_where_nobody_is_told_of(shops: Shops) -> None:
    ids = {"customer_id", "work_order_id", "lead_id"}
    without = {rpc for rpc, it in REQUESTS.items() if ids.isdisjoint(it.DESCRIPTOR.fields_by_name)} | {
        *("SetNeverMerge", "RevokeNeverMerge", "ListWorkOrders", "ListLeads", "ResolveIdentity")
    }
    assert {it for it in without if shops.passes(it, "S1")} == OPEN - {"GetCustomer"}
    assert shops.passes("ResolveIdentity", "S1", customer_id=str(shops.customer))
    assert not shops.passes("ResolveIdentity", "S2", customer_id=str(shops.customer))
