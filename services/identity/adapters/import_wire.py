"""Rows of an import as a command, and what became of them."""

from collections.abc import Sequence
from uuid import UUID

from chassis.errors import DomainError
from scrm.identity.v1 import identity_service_pb2 as pb
from services.identity.adapters import attribute_wire, wire
from services.identity.application.import_commands import ImportCustomers, ImportRow
from services.identity.application.resolving import Resolution, ResolveIdentity


def command(request: pb.ImportCustomersRequest, read: wire.Read) -> ImportCustomers:
    """A row that cannot be read stands among the others as the error it is."""

    def row(it: pb.ImportRow) -> ImportRow | DomainError:
        try:
            reading = read([wire.given(one) for one in it.identifiers])
            observations = attribute_wire.observations(it.values)
        except DomainError as refusal:
            return refusal
        customer_id = UUID(it.customer_id) if it.customer_id else None
        call = ResolveIdentity(reading, customer_id=customer_id, assignment_key=it.assignment_key or None)
        return ImportRow(call, observations)

    return ImportCustomers(tuple(row(it) for it in request.rows))


def imported(results: Sequence[Resolution | DomainError]) -> pb.ImportCustomersResponse:
    return pb.ImportCustomersResponse(results=[wire.result(it) for it in results])
