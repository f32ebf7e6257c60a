"""The tracked links of all brands, as far as this process has led anybody on by them, and the hosts they may lead to.

A link never changes, so one that is known is never looked up again. The list of hosts is looked at again after two seconds, while those
who follow links are still led on by the one before: no redirect waits for the database but the first by its link, and while the
database is away those by known links go on.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final, NamedTuple, TypeVar
from uuid import UUID

import structlog

from chassis.errors import Overloaded, described
from chassis.log import EventStore
from chassis.unit_of_work import replay
from services.tracking.domain.link import LinkHosts, TrackedLink, hosts_key, link_key

FRESH_SECONDS: Final = 2.0
MOST_LINKS: Final = 200_000
MOST_UNKNOWN: Final = 10_000
MOST_LOOK_UPS: Final = 32

K = TypeVar("K")
V = TypeVar("V")

_log = structlog.get_logger(__name__)


class LinkName(NamedTuple):
    """How a link is known to the world."""

    tenant: str
    short_code: str


@dataclass(slots=True)
class _Hosts:
    """The hosts of a brand as of `since`."""

    hosts: frozenset[str]
    since: float


class LinkBook:
    """Links by brand and code; `seconds` is a clock that only runs on."""

    def __init__(self, store: EventStore, seconds: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._seconds = seconds
        self._links: OrderedDict[LinkName, TrackedLink] = OrderedDict()
        self._unknown: OrderedDict[LinkName, float] = OrderedDict()
        self._hosts: dict[str, _Hosts] = {}
        self._looking: dict[str, asyncio.Task[None]] = {}
        self._look_ups = 0

    async def find(self, name: LinkName) -> TrackedLink | None:
        """The link, of which nobody knew two seconds ago if there is none. Raises Overloaded where too many look for such."""
        link = self._links.get(name)
        if link is not None:
            self._links.move_to_end(name)
            return link
        if self._unknown.get(name, -FRESH_SECONDS) > self._seconds() - FRESH_SECONDS:
            return None
        return await self._look_up(name)

    async def hosts(self, tenant: str) -> frozenset[str]:
        """Where links of the brand may lead to, as of a moment ago."""
        known = self._hosts.get(tenant)
        if known is None or known.since < self._seconds() - FRESH_SECONDS:
            looking = self._looking.get(tenant)
            if looking is None:
                looking = self._looking[tenant] = asyncio.create_task(self._renew(tenant), name="link hosts")
            if known is None:
                await looking
        return self._hosts[tenant].hosts

    async def _look_up(self, name: LinkName) -> TrackedLink | None:
        if self._look_ups >= MOST_LOOK_UPS:
            raise Overloaded("too many look for links that nobody followed yet")
        self._look_ups += 1
        try:
            found = await self._loaded(link_key(*name))
        finally:
            self._look_ups -= 1
        if isinstance(found, TrackedLink):
            _keep(self._links, name, found, MOST_LINKS)
            return found
        _keep(self._unknown, name, self._seconds(), MOST_UNKNOWN)
        return None

    async def _renew(self, tenant: str) -> None:
        since = self._seconds()
        try:
            found = await self._loaded(hosts_key(tenant))
            self._hosts[tenant] = _Hosts(found.hosts if isinstance(found, LinkHosts) else frozenset(), since)
        except Exception as error:
            if tenant not in self._hosts:
                raise
            self._hosts[tenant].since = since
            _log.warning("links.hosts_not_renewed", error=described(error))
        finally:
            del self._looking[tenant]

    async def _loaded(self, id: UUID) -> object:
        streams = await asyncio.to_thread(self._store.load, [id])
        return replay(streams[id]) if id in streams else None


def _keep(kept: OrderedDict[K, V], key: K, value: V, most: int) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > most:
        kept.popitem(last=False)
