"""What a brand says of the kinds of identifier: their rules, values that are none, and how long visitors are kept."""

from dataclasses import dataclass
from uuid import UUID

from chassis.commands import Handlers, UnitOfWork, handler
from chassis.errors import VersionConflict
from services.identity.application.owners import rules_of
from services.identity.domain.errors import BlockedValueNotFound, UnknownNamespace
from services.identity.domain.identifiers import IdentifierKey
from services.identity.domain.namespace_settings import (
    BlockedValue,
    NamespaceConfig,
    NamespaceSettings,
)
from services.identity.domain.rules import settings_id


@dataclass(frozen=True, slots=True)
class SetNamespaceConfig:
    """A namespace has these rules from now on; with `revision` only if the brand's settings are still at it."""

    config: NamespaceConfig
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class BlockIdentifierValue:
    """Never take this for an identifier: the value with `key`, or else all that `pattern` fits."""

    namespace: str
    key: IdentifierKey | None = None
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class UnblockIdentifierValue:
    """Take it for an identifier again."""

    block_id: UUID


@dataclass(frozen=True, slots=True)
class SetAnonymousLifetime:
    """Let anonymous customers expire when nobody has seen them for `days`."""

    days: int


def set_namespace_config(command: SetNamespaceConfig, work: UnitOfWork) -> NamespaceSettings:
    """The settings with the change. Raises VersionConflict, and what `reconfigured` raises."""
    settings = _settings(work)
    if command.revision is not None and command.revision != settings.revision:
        raise VersionConflict("the namespaces have changed", field="etag")
    settings.configure(command.config, work.now)
    return settings


def block_identifier_value(command: BlockIdentifierValue, work: UnitOfWork) -> BlockedValue:
    """What is blocked; the first one where the same was blocked before.

    Raises UnknownNamespace, BlockPatternTooBroad and TooManyBlockedValues.
    """
    if command.namespace not in rules_of(work).namespaces:
        raise UnknownNamespace(field="namespace", ns=command.namespace)
    _, scope, value_hmac = command.key or ("", "", None)
    wanted = BlockedValue(work.new_id(), command.namespace, scope, value_hmac, command.pattern, work.now)
    return _settings(work).block(wanted)


def unblock_identifier_value(command: UnblockIdentifierValue, work: UnitOfWork) -> None:
    """Raises BlockedValueNotFound."""
    settings = work.find(NamespaceSettings, settings_id(work.context.tenant))
    if settings is None:
        raise BlockedValueNotFound(field="block_id")
    settings.unblock(command.block_id, work.now)


def set_anonymous_lifetime(command: SetAnonymousLifetime, work: UnitOfWork) -> NamespaceSettings:
    """The settings with the change."""
    settings = _settings(work)
    settings.keep_anonymous(command.days, work.now)
    return settings


def _settings(work: UnitOfWork) -> NamespaceSettings:
    id = settings_id(work.context.tenant)
    found = work.find(NamespaceSettings, id)
    if found is None:
        found = NamespaceSettings(id, work.context.tenant)
        work.add(found)
    return found


NAMESPACE_HANDLERS: Handlers = [
    handler(SetNamespaceConfig, set_namespace_config),
    handler(BlockIdentifierValue, block_identifier_value),
    handler(UnblockIdentifierValue, unblock_identifier_value),
    handler(SetAnonymousLifetime, set_anonymous_lifetime),
]
