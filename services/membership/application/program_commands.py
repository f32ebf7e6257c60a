"""Commands about the program of a tenant."""

from dataclasses import dataclass
from decimal import Decimal

from chassis.commands import UnitOfWork
from services.membership.domain.errors import CurrencyUnsupported, ProgramExists, ProgramNotDefined
from services.membership.domain.expiry_rules import ExpiryRule
from services.membership.domain.program import Program, program_id


@dataclass(frozen=True, slots=True)
class DefineProgram:
    code: str
    currency: str
    zone: str
    points_name: str
    points_per_unit: Decimal
    expiry: ExpiryRule


@dataclass(frozen=True, slots=True)
class SetJoinPolicy:
    """`threshold` in minor units of `currency`."""

    threshold: int
    currency: str
    window_days: int
    revoke_on_refund_days: int


def define_program(command: DefineProgram, work: UnitOfWork) -> Program:
    """The program of the tenant. Raises ProgramExists if there is a different one."""
    tenant = work.context.tenant
    program = Program.define(
        tenant,
        command.code,
        command.currency,
        command.zone,
        command.points_name,
        command.points_per_unit,
        command.expiry,
    )
    present = work.find(Program, program_id(tenant))
    if present is None:
        work.add(program)
        return program
    if present.definition != program.definition:
        raise ProgramExists
    return present


def set_join_policy(command: SetJoinPolicy, work: UnitOfWork) -> Program:
    """Raises ProgramNotDefined, CurrencyUnsupported."""
    program = work.find(Program, program_id(work.context.tenant))
    if program is None:
        raise ProgramNotDefined
    if command.currency != program.currency:
        raise CurrencyUnsupported(field="join_policy.spend.amount", currency=program.currency)
    program.set_join_policy(command.threshold, command.window_days, command.revoke_on_refund_days)
    return program
