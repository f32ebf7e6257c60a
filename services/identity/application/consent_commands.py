"""What people allow, what they take back, and what platforms say of how they can be reached."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.commands import UnitOfWork
from services.identity.application.attribute_commands import purge_channel_values
from services.identity.application.consents import permissions_of
from services.identity.application.owners import owner_of, require_past
from services.identity.application.vault import Vault
from services.identity.domain.consent import (
    ConsentState,
    Purpose,
    Reachability,
    Statement,
)
from services.identity.domain.customer import Customer


@dataclass(frozen=True, slots=True)
class RecordConsent:
    """The person of `node` said yes or no, at `made_at` (None: now)."""

    node: UUID
    purpose: Purpose
    channel: str
    state: ConsentState
    policy_version: str
    source: str
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WithdrawConsent:
    """The person of `node` takes back what was said, at `made_at` (None: now)."""

    node: UUID
    purpose: Purpose
    channel: str
    source: str
    made_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SetChannelReachability:
    """A platform says whether messages of a channel reach the person of `node`, since `since` (None: now)."""

    node: UUID
    channel: str
    reachable: bool
    reason: str
    since: datetime | None = None


def record_consent(command: RecordConsent, work: UnitOfWork) -> Customer:
    """The customer concerned. Raises CustomerNotFound and FutureTimestamp."""
    customer = owner_of(work, command.node, "customer_id")
    at = require_past(command.made_at, work, "make_time")
    _state(command, customer, command.state, command.policy_version, at, work)
    return customer


def withdraw_consent(command: WithdrawConsent, work: UnitOfWork) -> Customer:
    """The customer concerned; also of one who had taken it back before. Raises CustomerNotFound and FutureTimestamp."""
    customer = owner_of(work, command.node, "customer_id")
    at = require_past(command.made_at, work, "make_time")
    _state(command, customer, ConsentState.WITHDRAWN, "", at, work)
    return customer


def set_channel_reachability(command: SetChannelReachability, work: UnitOfWork, vault: Vault) -> Customer:
    """The customer concerned; of one who left an official account what it let us know is destroyed.

    Raises CustomerNotFound and FutureTimestamp.
    """
    customer = owner_of(work, command.node, "customer_id")
    since = require_past(command.since, work, "since_time")
    permissions = permissions_of(work, command.node)
    before = permissions.reachability.get(command.channel)
    permissions.reach(Reachability(command.channel, command.reachable, command.reason, since))
    now = permissions.reachability[command.channel]
    if now != before and now.has_left_official_account:
        purge_channel_values(command.node, since, work, vault)
    return customer


def _state(
    command: RecordConsent | WithdrawConsent,
    customer: Customer,
    state: ConsentState,
    policy_version: str,
    at: datetime,
    work: UnitOfWork,
) -> None:
    beside = frozenset(customer.nodes) - {command.node}
    statement = Statement(command.purpose, command.channel, state, policy_version, command.source, at, beside)
    permissions_of(work, command.node).state(statement)
