"""Registers somebody by an email address and finds the customer again.

SCRM_TOKEN=$(make -s token) python find_customer.py jane@example.com
"""

import asyncio
import os
import sys

from scrm.identity.v1.customer_pb2 import Identifier
from scrm.identity.v1.identity_service_pb2 import LookupCustomerRequest, ResolveIdentityRequest
from scrm.identity.v1.identity_service_pb2_grpc import IdentityServiceStub
from scrm.identity.v1.profile_service_pb2 import SearchCustomersRequest
from scrm.identity.v1.profile_service_pb2_grpc import ProfileServiceStub
from scrm.identity.v1.refusals import CustomerNotFound
from scrm_client import Connection, min_position


async def main(email: str) -> None:
    address = os.environ.get("SCRM_GATEWAY", "127.0.0.1:8080")
    async with Connection(address, os.environ["SCRM_TOKEN"]) as crm:
        identity, profiles = IdentityServiceStub(crm.channel), ProfileServiceStub(crm.channel)
        identifier = Identifier(namespace="email", value=email)
        try:
            known = await identity.LookupCustomer(LookupCustomerRequest(identifier=identifier))
            print("known before as", known.customer.customer_id)
        except CustomerNotFound:
            print("not known before")
        answer = await identity.ResolveIdentity(ResolveIdentityRequest(identifiers=[identifier]))
        print("customer", answer.customer_id)
        # Searches read what is written a moment later; with the position of the write they wait for it.
        found = await profiles.SearchCustomers(
            SearchCustomersRequest(query=email), metadata=min_position(crm.position("identity"))
        )
        print("found", *(hit.customer.customer_id for hit in found.hits))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
