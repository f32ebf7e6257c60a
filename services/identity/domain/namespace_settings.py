"""What one brand makes of the namespaces: other rules for some of them, more of its own, values it never takes for identifiers.

The form of a namespace and whether it has scopes are for ever, because they decide under which hash a value is kept. Strength may
change both ways: nobody who is known becomes unknown by it, and who has shown something that is strong only since is known from
the next call on that shows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event
from chassis.errors import ValueOutOfRange
from services.identity.domain.errors import (
    BlockedValueNotFound,
    BlockPatternTooBroad,
    NamespaceFixed,
    NamespacePriorityClash,
    TooManyBlockedValues,
    TooManyNamespaces,
)
from services.identity.domain.forms import FormName
from services.identity.domain.identifiers import IdentifierKey
from services.identity.domain.namespaces import NAMESPACES, Limit, Namespace, Namespaces, changed
from services.identity.domain.patterns import Pattern
from services.identity.domain.rules import ANONYMOUS_LIFETIME, IdentityRules

MOST_NAMESPACES: Final = 50
MOST_BLOCKED: Final = 1_000

_ALWAYS_STRONG: Final = frozenset({"member_no"})
"""Accounts with points hang on a member number: it moves with nobody, and always tells who it is."""
_ALWAYS_WEAK: Final = frozenset({"device_id", "anonymous_id"})
"""A device is not a person: it never joins two whom the brand knows."""


@dataclass(frozen=True, slots=True)
class NamespaceConfig:
    """The rules of a namespace as they are recorded; `window_days` counts only identifiers linked within so many days."""

    name: str
    priority: int
    form: FormName
    scoped: bool
    limit: int
    per_scope: bool
    window_days: int | None
    ever: bool
    strong: bool
    transferable: bool

    @classmethod
    def of(cls, it: Namespace) -> "NamespaceConfig":
        limit = it.limit
        days = limit.window.days if limit.window else None
        counted = limit.count, limit.per_scope, days, limit.ever
        return cls(it.name, it.priority, it.form, it.scoped, *counted, it.strong, it.transferable)

    @property
    def namespace(self) -> Namespace:
        window = timedelta(days=self.window_days) if self.window_days else None
        limit = Limit(self.limit, self.per_scope, window, self.ever)
        return Namespace(self.name, self.priority, self.form, limit, self.strong, self.transferable, self.scoped)


@dataclass(frozen=True, slots=True)
class BlockedValue:
    """What a brand blocks in a namespace: the identifier under a keyed hash in a scope, or all that `pattern` fits."""

    block_id: UUID
    namespace: str
    scope: str
    value_hmac: bytes | None
    pattern: str | None
    blocked_at: datetime

    @property
    def key(self) -> IdentifierKey | None:
        return None if self.value_hmac is None else (self.namespace, self.scope, self.value_hmac)

    @property
    def what(self) -> tuple[str, str, bytes | None, str | None]:
        """The same for two that block the same."""
        return self.namespace, self.scope, self.value_hmac, self.pattern


class NamespaceSettings(Aggregate):
    """The settings of one brand; a brand without any goes by the preset rules."""

    TOPIC = "identity.NamespaceSettings"

    class Opened(InitialEvent):
        """The brand changed something for the first time."""

        TOPIC = "identity.NamespaceSettingsOpened"
        tenant: str

    class ConfigChanged(Event):
        """A namespace has these rules from now on; `version` counts the changes of the brand's namespaces."""

        TOPIC = "identity.NamespaceConfigChanged"
        config: NamespaceConfig
        version: int
        changed_at: datetime

    class ValueBlocked(Event):
        """A value is never taken for an identifier from now on, or all values that a pattern fits."""

        TOPIC = "identity.IdentifierValueBlocked"
        blocked: BlockedValue

    class ValueUnblocked(Event):
        """That is over."""

        TOPIC = "identity.IdentifierValueUnblocked"
        blocked: BlockedValue
        unblocked_at: datetime

    class AnonymousLifetimeChanged(Event):
        """Anonymous customers expire when nobody has seen them for so many days."""

        TOPIC = "identity.AnonymousLifetimeChanged"
        days: int
        changed_at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str) -> None:
        self.tenant = tenant
        self.namespaces = NAMESPACES
        self.anonymous_lifetime = ANONYMOUS_LIFETIME
        self.lifetime_since: datetime | None = None
        self.revision = 0
        self.versions: dict[str, int] = {}
        self.blocked: dict[UUID, BlockedValue] = {}
        self._rules: IdentityRules | None = None

    @property
    def rules(self) -> IdentityRules:
        """What follows from all of it; the same object until something changes."""
        if self._rules is None:
            keys = frozenset(it.key for it in self.blocked.values() if it.key is not None)
            self._rules = IdentityRules(
                self.namespaces, keys, _patterns(self.blocked), self.anonymous_lifetime, self.lifetime_since
            )
        return self._rules

    def configure(self, config: NamespaceConfig, at: datetime) -> None:
        """Let a namespace have these rules. Raises what `reconfigured` raises."""
        if reconfigured(self.namespaces, config) is not self.namespaces:
            self._config_changed(config=config, version=self.revision + 1, changed_at=at)

    def block(self, blocked: BlockedValue) -> BlockedValue:
        """Never take what `blocked` says for identifiers; what is blocked already, where the same is.

        Raises BlockPatternTooBroad and TooManyBlockedValues.
        """
        known = next((it for it in self.blocked.values() if it.what == blocked.what), None)
        if known is not None:
            return known
        if blocked.pattern is not None and Pattern(blocked.pattern).is_broad:
            raise BlockPatternTooBroad(field="pattern")
        if len(self.blocked) >= MOST_BLOCKED:
            raise TooManyBlockedValues(maximum=MOST_BLOCKED)
        self._value_blocked(blocked=blocked)
        return blocked

    def unblock(self, block_id: UUID, at: datetime) -> None:
        """Raises BlockedValueNotFound."""
        if block_id not in self.blocked:
            raise BlockedValueNotFound(field="block_id")
        self._value_unblocked(blocked=self.blocked[block_id], unblocked_at=at)

    def keep_anonymous(self, days: int, at: datetime) -> None:
        """Let anonymous customers expire when nobody has seen them for `days`."""
        if timedelta(days=days) != self.anonymous_lifetime:
            self._anonymous_lifetime_changed(days=days, changed_at=at)

    @event(ConfigChanged)
    def _config_changed(self, config: NamespaceConfig, version: int, changed_at: datetime) -> None:
        self.namespaces = changed(self.namespaces, config.namespace)
        self.revision = version
        self.versions[config.name] = version
        self._rules = None

    @event(ValueBlocked)
    def _value_blocked(self, blocked: BlockedValue) -> None:
        self.blocked[blocked.block_id] = blocked
        self._rules = None

    @event(ValueUnblocked)
    def _value_unblocked(self, blocked: BlockedValue, unblocked_at: datetime) -> None:
        del self.blocked[blocked.block_id]
        self._rules = None

    @event(AnonymousLifetimeChanged)
    def _anonymous_lifetime_changed(self, days: int, changed_at: datetime) -> None:
        self.anonymous_lifetime = timedelta(days=days)
        self.lifetime_since = changed_at
        self._rules = None


def reconfigured(namespaces: Namespaces, config: NamespaceConfig) -> Namespaces:
    """The namespaces with this change; the same object if it changes nothing.

    Raises ValueOutOfRange, NamespaceFixed, NamespacePriorityClash and TooManyNamespaces.
    """
    namespace, known = config.namespace, namespaces.get(config.name)
    if namespace == known:
        return namespaces
    if config.ever and config.window_days:
        raise ValueOutOfRange("what counts for ever has no window", field="limit.window_days")
    if known is None and len(namespaces) >= len(NAMESPACES) + MOST_NAMESPACES:
        raise TooManyNamespaces(maximum=MOST_NAMESPACES)
    _require_nothing_fixed(namespace, known)
    for other in namespaces.values():
        if other.name != namespace.name and _clash(namespace, other):
            raise NamespacePriorityClash(field="priority", ns=other.name, priority=other.priority)
    return changed(namespaces, namespace)


def _require_nothing_fixed(namespace: Namespace, known: Namespace | None) -> None:
    """Raises NamespaceFixed for what may not change."""
    if known is not None and known.form is not namespace.form:
        raise NamespaceFixed("values are kept under hashes of this form", field="form", form=known.form)
    if known is not None and known.scoped != namespace.scoped:
        raise NamespaceFixed("values are kept under hashes with their scope", field="scoped")
    if namespace.name in (_ALWAYS_WEAK if namespace.strong else _ALWAYS_STRONG):
        raise NamespaceFixed("this kind is always of one strength", field="strong")
    if namespace.name in _ALWAYS_STRONG and namespace.transferable:
        raise NamespaceFixed("it never moves to another person", field="transferable")


def _clash(one: Namespace, other: Namespace) -> bool:
    """Whether a weak one would tell as much as a strong one, or more."""
    weak, strong = (one, other) if other.strong else (other, one)
    return not weak.strong and strong.strong and weak.priority <= strong.priority


def _patterns(blocked: Mapping[UUID, BlockedValue]) -> Mapping[str, tuple[Pattern, ...]]:
    found: dict[str, tuple[Pattern, ...]] = {}
    for it in blocked.values():
        if it.pattern is not None:
            found[it.namespace] = (*found.get(it.namespace, ()), Pattern(it.pattern))
    return found
