"""Registering sources, changing them, and giving them new write keys."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from chassis.commands import Handlers, UnitOfWork, handler
from services.tracking.domain.errors import SourceExists, SourceNotFound
from services.tracking.domain.source import IngestSource, SourceKind, Terms, WechatAccount, source_id


@dataclass(frozen=True, slots=True)
class RegisterSource:
    """`tenant` is that of the caller, for finding the source before the handler runs."""

    tenant: str
    key: str
    kind: SourceKind
    terms: Terms
    write_key_digest: bytes


@dataclass(frozen=True, slots=True)
class UpdateSource:
    """`changes` are fields of `Terms`."""

    tenant: str
    key: str
    changes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ReplaceWriteKey:
    tenant: str
    key: str
    write_key_digest: bytes


@dataclass(frozen=True, slots=True)
class SetWechatAccount:
    tenant: str
    key: str
    account: WechatAccount


def register_source(command: RegisterSource, work: UnitOfWork) -> IngestSource:
    """Raises SourceExists."""
    id = source_id(work.context.tenant, command.key)
    if work.find(IngestSource, id):
        raise SourceExists(field="key")
    source = IngestSource(id, work.context.tenant, command.key, command.kind, command.terms, command.write_key_digest)
    work.add(source)
    return source


def update_source(command: UpdateSource, work: UnitOfWork) -> IngestSource:
    """Raises SourceNotFound."""
    source = _known(command.key, work)
    source.update(replace(source.terms, **command.changes))
    return source


def replace_write_key(command: ReplaceWriteKey, work: UnitOfWork) -> IngestSource:
    """Raises SourceNotFound."""
    source = _known(command.key, work)
    source.replace_write_key(command.write_key_digest)
    return source


def set_wechat_account(command: SetWechatAccount, work: UnitOfWork) -> IngestSource:
    """Raises SourceNotFound, SourceIsNoWebhook."""
    source = _known(command.key, work)
    source.set_wechat_account(command.account)
    return source


def _known(key: str, work: UnitOfWork) -> IngestSource:
    source = work.find(IngestSource, source_id(work.context.tenant, key))
    if source is None:
        raise SourceNotFound
    return source


HANDLERS: Final[Handlers] = (
    handler(RegisterSource, register_source, loads=lambda it: [source_id(it.tenant, it.key)]),
    handler(UpdateSource, update_source, loads=lambda it: [source_id(it.tenant, it.key)]),
    handler(ReplaceWriteKey, replace_write_key, loads=lambda it: [source_id(it.tenant, it.key)]),
    handler(SetWechatAccount, set_wechat_account, loads=lambda it: [source_id(it.tenant, it.key)]),
)
