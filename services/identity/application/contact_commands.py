"""What staff did with customers, and when customers and the brand were in touch."""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.errors import ValueOutOfRange
from services.identity.application.guides import note_follow_up
from services.identity.application.owners import canonical, owner_of, require_past
from services.identity.application.vault import Vault
from services.identity.domain.customer import Customer
from services.identity.domain.errors import FollowUpNotFound
from services.identity.domain.follow_up import CONTENT, Contact, Direction, FollowUp, FollowUpType, Notes
from services.identity.domain.topics import topics


@dataclass(frozen=True, slots=True)
class RecordFollowUp:
    """`staff` did this with the person of `node`, at `occurred_at` (None: now)."""

    node: UUID
    type: FollowUpType
    content: str = ""
    stage: str = ""
    next_follow_at: datetime | None = None
    topics: tuple[str, ...] = ()
    product: str = ""
    staff: UUID | None = None
    supersedes: UUID | None = None
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RecordContact:
    """The person of `node` and the brand were in touch, at `occurred_at` (None: now)."""

    node: UUID
    channel: str
    direction: Direction
    result: str
    duration_seconds: int | None = None
    staff: UUID | None = None
    occurred_at: datetime | None = None


def record_follow_up(command: RecordFollowUp, work: UnitOfWork, vault: Vault) -> FollowUp:
    """The follow-up. Raises CustomerNotFound, FutureTimestamp, FollowUpNotFound and FollowUpSuperseded, ValueOutOfRange for a
    next one in the past, and BadFormat for topics."""
    customer = owner_of(work, command.node, "customer_id")
    occurred_at = require_past(command.occurred_at, work, "occur_time")
    if command.next_follow_at is not None and command.next_follow_at < work.now:
        raise ValueOutOfRange("nobody follows up in the past", field="next_follow_time")
    about, id = topics(command.topics), work.new_id()
    if command.supersedes is not None:
        _corrected(work, command.supersedes, customer).give_way(id)
    content = vault.seal(work, command.node, CONTENT, command.content) if command.content else None
    notes = Notes(command.type, content, command.stage, command.next_follow_at, about, command.product)
    recorded = FollowUp(id, work.context.tenant, command.node, command.staff, notes, command.supersedes, occurred_at)
    work.add(recorded)
    if command.staff is not None:
        note_follow_up(work, customer, command.staff, occurred_at)
    return recorded


def record_contact(command: RecordContact, work: UnitOfWork) -> Contact:
    """The contact. Raises CustomerNotFound and FutureTimestamp."""
    owner_of(work, command.node, "customer_id")
    recorded = Contact(
        id=work.new_id(),
        tenant=work.context.tenant,
        node=command.node,
        channel=command.channel,
        direction=command.direction,
        result=command.result,
        duration_seconds=command.duration_seconds,
        staff=command.staff,
        occurred_at=require_past(command.occurred_at, work, "occur_time"),
    )
    work.add(recorded)
    return recorded


def handlers(vault: Vault) -> Handlers:
    """What carries out the commands of this module."""
    return [
        handler(RecordFollowUp, partial(record_follow_up, vault=vault), loads=lambda command: (command.node,)),
        handler(RecordContact, record_contact, loads=lambda command: (command.node,)),
    ]


def _corrected(work: UnitOfWork, id: UUID, customer: Customer) -> FollowUp:
    """The follow-up to be corrected; that of another customer is none."""
    found = work.find(FollowUp, id)
    owner = canonical(work, found.node) if found is not None else None
    if found is None or owner is None or owner.id != customer.id:
        raise FollowUpNotFound(field="supersedes")
    return found
