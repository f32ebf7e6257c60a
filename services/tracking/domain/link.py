"""Tracked links (TR-7): short codes that lead to pages of the brand and nowhere else, and which hits on them are of people."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tracking.domain.errors import TargetNotAllowed

BEACON_WITHIN: Final = timedelta(seconds=30)
"""A page that a person sees says so within it; what a mail scanner or a preview fetches never does."""

HIT_PARAMETER: Final = "scrm_hit"

_PLAIN: Final = re.compile(r"[!-\[\]-~]+")  # printable ASCII without blanks and backslashes
_ALPHABET: Final = "23456789abcdefghjkmnpqrstuvwxyz"
_LENGTH: Final = 8


class LinkKind(StrEnum):
    """Where a link stands, and so what a click on it means."""

    READ_ORIGINAL = "READ_ORIGINAL"
    EXTERNAL = "EXTERNAL"
    SHARE = "SHARE"


@dataclass(frozen=True, slots=True)
class LinkDesign:
    """What a link is for ever; campaign and staff are empty where nothing is said."""

    target: str
    kind: LinkKind
    campaign: str
    staff: str


class TrackedLink(Aggregate):
    """One link, known by its short code."""

    TOPIC = "tracking.TrackedLink"

    class Created(InitialEvent):
        TOPIC = "tracking.TrackedLinkCreated"
        tenant: str
        short_code: str
        design: LinkDesign

    @event(Created)
    def __init__(self, id: UUID, tenant: str, short_code: str, design: LinkDesign) -> None:
        self.tenant = tenant
        self.short_code = short_code
        self.design = design


class LinkHosts(Aggregate):
    """The hosts that links of a brand may lead to."""

    TOPIC = "tracking.LinkHosts"

    class Opened(InitialEvent):
        TOPIC = "tracking.LinkHostsOpened"
        tenant: str

    class Listed(Event):
        """These and no others from now on."""

        TOPIC = "tracking.LinkHostsListed"
        hosts: tuple[str, ...]

    @event(Opened)
    def __init__(self, id: UUID, tenant: str) -> None:
        self.tenant = tenant
        self.hosts: frozenset[str] = frozenset()

    def list(self, hosts: Collection[str]) -> None:
        if frozenset(hosts) != self.hosts:
            self._listed(tuple(sorted(hosts)))

    @event(Listed)
    def _listed(self, hosts: tuple[str, ...]) -> None:
        self.hosts = frozenset(hosts)


@dataclass(frozen=True, slots=True)
class LinkHit:
    """Somebody, or something, followed a link; `beacon_at` is when the page said that it is seen, if it did.

    What says of itself that it is a program, or asks for nothing but the headers, is one (`is_robot`), whatever else it does.
    """

    at: datetime
    beacon_at: datetime | None = None
    is_robot: bool = False


def is_prefetch(hit: LinkHit) -> bool:
    """What a hit is, once its beacon has come or can come no more (30 s after it): of nobody, or the click of a person."""
    beacon = None if hit.is_robot else hit.beacon_at
    return beacon is None or not timedelta(0) <= beacon - hit.at <= BEACON_WITHIN


def require_allowed(target: str, hosts: Collection[str]) -> None:
    """Raise TargetNotAllowed unless `target` is a page on one of `hosts`, whoever reads the address."""
    if not _PLAIN.fullmatch(target):
        raise TargetNotAllowed(field="target")
    try:
        parts = urlsplit(target)
        port = parts.port
    except ValueError:
        raise TargetNotAllowed(field="target") from None
    plain_host = parts.netloc.lower() in (parts.hostname, f"{parts.hostname}:443")
    if parts.scheme != "https" or port not in (None, 443) or not plain_host or parts.hostname not in hosts:
        raise TargetNotAllowed(field="target")


def landing(target: str, hit: str) -> str:
    """The address to lead on to: the page, told which hit it is seen through, for its beacon."""
    page, mark, fragment = target.partition("#")
    return f"{page}{'&' if '?' in page else '?'}{urlencode({HIT_PARAMETER: hit})}{mark}{fragment}"


def short_code_of(random: UUID) -> str:
    """A short code that nobody can guess, without letters that look alike."""
    number, letters = random.int & (1 << 62) - 1, ""
    for _ in range(_LENGTH):
        number, place = divmod(number, len(_ALPHABET))
        letters += _ALPHABET[place]
    return letters


def link_key(tenant: str, short_code: str) -> UUID:
    """The id of the one link with this code."""
    return natural_id(tenant, "tracked link", short_code)


def hosts_key(tenant: str) -> UUID:
    """The list of a tenant."""
    return natural_id(tenant, "link hosts")
