"""Whoever reads identifiers is told what the rules of a brand are now, without asking the database at every call."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final

from chassis.commands import CommandBus
from chassis.context import current
from services.identity.application.queries import rules_of_tenant
from services.identity.domain.identifiers import IdentifierReader

FRESH_SECONDS: Final = 5.0
"""For so long another replica's change may go unnoticed here. Decisions are by the rules as of the last write all the same."""


class TenantRules:
    """Keeps `reader` at the rules of the tenants that call."""

    def __init__(self, bus: CommandBus, reader: IdentifierReader, *, seconds: Callable[[], float] = monotonic) -> None:
        self._bus = bus
        self._reader = reader
        self._seconds = seconds
        self._fresh_until: dict[str, float] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}

    async def refresh(self) -> None:
        """Before the reader reads for the tenant of the current call; looks again after five seconds."""
        tenant = current().tenant
        if self._seconds() < self._fresh_until.get(tenant, 0.0):
            return
        loading = self._loading.get(tenant)
        if loading is None:
            loading = self._loading[tenant] = asyncio.create_task(self._load(tenant))
        await asyncio.shield(loading)

    async def renew(self) -> None:
        """After the rules of the tenant of the current call were changed."""
        await self._learn(current().tenant)

    async def _load(self, tenant: str) -> None:
        try:
            await self._learn(tenant)
        finally:
            del self._loading[tenant]

    async def _learn(self, tenant: str) -> None:
        asked = self._seconds()
        self._reader.learn(tenant, await rules_of_tenant(self._bus))
        self._fresh_until[tenant] = asked + FRESH_SECONDS
