"""Making channel codes, changing and archiving them, and taking in that somebody came by one."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.errors import DomainError
from services.tracking.domain.channel_code import (
    ChannelCode,
    CodeDesign,
    CodeKind,
    CodeTerms,
    PermanentCodes,
    code_id,
    permanent_codes_id,
    require_key,
)
from services.tracking.domain.errors import ChannelCodeNotFound, CodeTaken
from services.tracking.domain.touches import ChannelTouches, Touch, touches_id


@dataclass(frozen=True, slots=True)
class CreateChannelCode:
    """`tenant` is that of the caller, for finding what is needed before the handler runs; so it is below."""

    tenant: str
    code_key: str
    design: CodeDesign
    terms: CodeTerms


@dataclass(frozen=True, slots=True)
class BatchCreateChannelCodes:
    """One for each store or member of staff, say; an item that could not be read is the error that says why."""

    items: tuple[CreateChannelCode | DomainError, ...]


@dataclass(frozen=True, slots=True)
class UpdateChannelCode:
    """`changes` are fields of `CodeTerms`."""

    tenant: str
    code_key: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ArchiveChannelCode:
    tenant: str
    code_key: str


@dataclass(frozen=True, slots=True)
class RecordTouches:
    """What the person of `node` had to do with channel codes, in the order in which it became known."""

    tenant: str
    node: UUID
    touches: tuple[Touch, ...]


def create_channel_code(command: CreateChannelCode, work: UnitOfWork) -> ChannelCode:
    """Raises CodeTaken, CodeLimit, and what is wrong with the design."""
    require_key(command.code_key)
    command.design.check(work.now)
    command.terms.check(command.design.kind)
    tenant = work.context.tenant
    id = code_id(tenant, command.code_key)
    if work.find(ChannelCode, id):
        raise CodeTaken(field="code_key")
    if command.design.kind is CodeKind.OA_PERMANENT:
        _permanent_codes(command.design.app, work).take()
    code = ChannelCode(id, tenant, command.code_key, command.design, command.terms)
    work.add(code)
    return code


def batch_create_channel_codes(
    command: BatchCreateChannelCodes, work: UnitOfWork
) -> Sequence[ChannelCode | DomainError]:
    """Each by itself: the code, or why it was refused."""

    def create(item: CreateChannelCode | DomainError) -> ChannelCode:
        if isinstance(item, DomainError):
            raise item
        return create_channel_code(item, work)

    return work.each(command.items, create)


def update_channel_code(command: UpdateChannelCode, work: UnitOfWork) -> ChannelCode:
    """Raises ChannelCodeNotFound, ChannelCodeArchived, and what is wrong with the terms."""
    code = _known(command.code_key, work)
    code.update(replace(code.terms, **command.changes))
    return code


def archive_channel_code(command: ArchiveChannelCode, work: UnitOfWork) -> ChannelCode:
    """Raises ChannelCodeNotFound."""
    code = _known(command.code_key, work)
    code.archive()
    return code


def record_touches(command: RecordTouches, work: UnitOfWork) -> None:
    tenant = work.context.tenant
    touched = work.find(ChannelTouches, touches_id(tenant, command.node))
    if touched is None:
        touched = ChannelTouches(touches_id(tenant, command.node), tenant, command.node)
        work.add(touched)
    codes = work.find_all(ChannelCode, _codes(tenant, command.touches))
    for touch in command.touches:
        touched.take(touch, known_code=code_id(tenant, touch.code_key) in codes)


def _known(code_key: str, work: UnitOfWork) -> ChannelCode:
    code = work.find(ChannelCode, code_id(work.context.tenant, code_key))
    if code is None:
        raise ChannelCodeNotFound
    return code


def _permanent_codes(app: str, work: UnitOfWork) -> PermanentCodes:
    tenant = work.context.tenant
    found = work.find(PermanentCodes, permanent_codes_id(tenant, app))
    if found is None:
        found = PermanentCodes(permanent_codes_id(tenant, app), tenant, app)
        work.add(found)
    return found


def _created(command: CreateChannelCode) -> Iterable[UUID]:
    permanent = command.design.kind is CodeKind.OA_PERMANENT
    counted = [permanent_codes_id(command.tenant, command.design.app)] if permanent else []
    return [code_id(command.tenant, command.code_key), *counted]


def _codes(tenant: str, touches: Sequence[Touch]) -> list[UUID]:
    return [code_id(tenant, key) for key in {it.code_key for it in touches} if key]


HANDLERS: Final[Handlers] = (
    handler(CreateChannelCode, create_channel_code, loads=_created),
    handler(
        BatchCreateChannelCodes,
        batch_create_channel_codes,
        loads=lambda it: {id for item in it.items if isinstance(item, CreateChannelCode) for id in _created(item)},
    ),
    handler(UpdateChannelCode, update_channel_code, loads=lambda it: [code_id(it.tenant, it.code_key)]),
    handler(ArchiveChannelCode, archive_channel_code, loads=lambda it: [code_id(it.tenant, it.code_key)]),
    handler(
        RecordTouches,
        record_touches,
        loads=lambda it: [touches_id(it.tenant, it.node), *_codes(it.tenant, it.touches)],
    ),
)
