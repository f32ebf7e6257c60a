"""A brand that changes its namespaces in tests: commands, and a reader that knows of them at once."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from services.identity.application.namespace_commands import (
    BlockIdentifierValue,
    SetNamespaceConfig,
    UnblockIdentifierValue,
)
from services.identity.domain.forms import FormName
from services.identity.domain.identifiers import GivenIdentifier
from services.identity.domain.namespace_settings import BlockedValue, NamespaceConfig, NamespaceSettings
from services.identity.domain.namespaces import NAMESPACES
from services.identity.domain.patterns import is_pattern
from services.identity.domain.rules import PRESET, IdentityRules, settings_id
from tests.identity.brand import Brand

CARD = NamespaceConfig("loyalty_card", 4, FormName.TRIMMED, False, 1, False, None, False, True, False)
"""A namespace that no brand has by preset."""


def rules(brand: Brand) -> IdentityRules:
    settings = brand._load(NamespaceSettings, settings_id(brand.tenant))
    return settings.rules if settings else PRESET


def config(name: str, **changes: Any) -> NamespaceConfig:
    """The preset rules of a namespace with these changes."""
    return replace(NamespaceConfig.of(NAMESPACES[name]), **changes)


def configure(brand: Brand, wanted: NamespaceConfig, revision: int | None = None) -> NamespaceSettings:
    found: NamespaceSettings = brand.do(SetNamespaceConfig(wanted, revision))
    brand.reader.learn(brand.tenant, rules(brand))
    return found


def block(brand: Brand, namespace: str, text: str) -> BlockedValue:
    """Block a value, or what a pattern fits; the reader of the brand does not know of it yet."""
    if is_pattern(text):
        command = BlockIdentifierValue(namespace, pattern=text)
    else:
        command = BlockIdentifierValue(
            namespace, key=brand.reader.key_of(brand.tenant, GivenIdentifier(namespace, text))
        )
    found: BlockedValue = brand.do(command)
    return found


def unblock(brand: Brand, block_id: UUID) -> None:
    brand.do(UnblockIdentifierValue(block_id))
    brand.reader.learn(brand.tenant, rules(brand))
