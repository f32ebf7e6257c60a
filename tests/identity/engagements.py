"""Everything that staff and a customer can have to do with each other, once."""

from uuid import UUID, uuid4

from chassis.commands import Effect, Unit
from services.identity.application.contact_commands import RecordContact, RecordFollowUp
from services.identity.application.lead_commands import OpenLead, PaidOrder, UpdateLead, win_leads
from services.identity.application.work_order_commands import (
    About,
    BreachWorkOrderSla,
    CreateWorkOrder,
    RateWorkOrder,
    SetServiceHours,
    TransitionWorkOrder,
    UpsertExternalWorkOrder,
)
from services.identity.domain.follow_up import Direction, FollowUpType
from services.identity.domain.lead import LeadState, Prospect
from services.identity.domain.service_hours import BusinessHours
from services.identity.domain.work_order import Origin, Priority, Progress, WorkOrderState
from tests.identity.brand import Brand


def engage(brand: Brand, node: UUID, words: str) -> None:
    """Every event of work orders, follow-ups, contacts and leads; `words` are said on every occasion."""
    brand.do(SetServiceHours(BusinessHours.of("UTC", range(1, 8), (0, 1440))))
    about = About(node, "COMPLAINT", Priority.P1, ("leaking cap",), "cup", words)
    order = brand.do(CreateWorkOrder(about)).id
    brand.clock.set(brand.do(BreachWorkOrderSla(order)).due_at)
    brand.do(BreachWorkOrderSla(order))
    for state in (WorkOrderState.ASSIGNED, WorkOrderState.IN_PROGRESS, WorkOrderState.RESOLVED):
        brand.do(TransitionWorkOrder(order, state, uuid4(), words))
    brand.do(RateWorkOrder(order, 5))
    for version in (1, 2):
        origin, progress = Origin("helpdesk", "T-1", version), Progress(WorkOrderState.CLOSED, None, version)
        brand.do(UpsertExternalWorkOrder(origin, about, progress, brand.clock.now()))
    wrong = brand.do(RecordFollowUp(node, FollowUpType.CALL, words)).id
    brand.do(RecordFollowUp(node, FollowUpType.CALL, words, supersedes=wrong))
    brand.do(RecordContact(node, "PHONE", Direction.INBOUND, "REACHED"))
    lead = brand.do(OpenLead(Prospect(node, "tea", 50, None))).id
    brand.do(UpdateLead(lead, state=LeadState.FOLLOWING))
    brand.do(UpdateLead(lead, state=LeadState.LOST, reason="TOO_DEAR"))
    brand.do(OpenLead(Prospect(node, "tea", 50, None)))
    paid = PaidOrder(uuid4(), node, frozenset({"tea"}), brand.clock.now())
    brand.bus.run_now(Unit([(brand.context(), Effect(lambda work: win_leads([paid], work)))]))
