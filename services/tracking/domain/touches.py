"""How one person came by channel codes (TR-4): scans in the order in which they became known, and following or not.

A follow counts as new once for each account, whatever happens later; to follow, leave and follow again is to follow anew.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id

SAME_FOLLOW: Final = timedelta(minutes=1)
"""Within it the scan and the subscription that the platform reports are one."""

SCANS: Final = frozenset({"qr_scanned", "wecom_friend_added"})
FOLLOWS: Final = frozenset({"oa_subscribed", "wecom_friend_added"})
UNFOLLOWS: Final = frozenset({"oa_unsubscribed", "wecom_friend_deleted"})
CONTACTS: Final = SCANS | FOLLOWS | UNFOLLOWS


class Follow(StrEnum):
    """Whether somebody began to follow with a scan: never before, or again."""

    NONE = "NONE"
    NEW = "NEW"
    AGAIN = "AGAIN"


@dataclass(frozen=True, slots=True)
class Touch:
    """One behaviour of a person that tells of a scan, a follow or its end; `app` is the account, `staff` who received them."""

    event_type: str
    code_key: str
    app: str
    staff: str
    at: datetime
    is_new_follow: bool = False

    @property
    def is_scan(self) -> bool:
        return self.event_type in SCANS and bool(self.code_key)

    @property
    def is_follow(self) -> bool:
        return self.event_type in FOLLOWS or (self.event_type == "qr_scanned" and self.is_new_follow)


@dataclass(frozen=True, slots=True)
class Following:
    """The n-th time that somebody follows an account; whether it still goes on, and whether a scan began it."""

    number: int
    since: datetime
    goes_on: bool = True
    by_scan: bool = False


class ChannelTouches(Aggregate):
    """What one node had to do with channel codes."""

    TOPIC = "tracking.ChannelTouches"

    class Began(InitialEvent):
        TOPIC = "tracking.ChannelTouchesBegan"
        tenant: str
        node: UUID

    class Scanned(Event):
        """The person scanned a code, for the n-th time as far as was known then."""

        TOPIC = "tracking.ChannelScanned"
        node: UUID
        code_key: str
        app: str
        follow: Follow
        nth_scan: int
        staff: str
        scanned_at: datetime

    class Followed(Event):
        """The person follows an account, without a scan as far as was known then."""

        TOPIC = "tracking.ChannelFollowed"
        node: UUID
        app: str
        followed_at: datetime

    class Unfollowed(Event):
        """The person follows an account no more."""

        TOPIC = "tracking.ChannelUnfollowed"
        node: UUID
        app: str
        unfollowed_at: datetime

    @event(Began)
    def __init__(self, id: UUID, tenant: str, node: UUID) -> None:
        self.tenant = tenant
        self.node = node
        self.scans: dict[str, int] = {}
        self.following: dict[str, Following] = {}

    def take(self, touch: Touch, *, known_code: bool) -> None:
        """Take in a touch; a scan of a code that nobody made is none."""
        if touch.is_scan and known_code:
            nth = self.scans.get(touch.code_key, 0) + 1
            self._scanned(self.node, touch.code_key, touch.app, self._follow_of(touch), nth, touch.staff, touch.at)
        elif touch.is_follow:
            known = self.following.get(touch.app)
            if known is None or not known.goes_on:
                self._followed(self.node, touch.app, touch.at)
        elif touch.event_type in UNFOLLOWS:
            known = self.following.get(touch.app)
            if known and known.goes_on:
                self._unfollowed(self.node, touch.app, touch.at)

    def _follow_of(self, touch: Touch) -> Follow:
        """What a scan means for following: it may also be the one behind a subscription that was heard of before."""
        if not touch.is_follow:
            return Follow.NONE
        known = self.following.get(touch.app)
        if known is None:
            return Follow.NEW
        if not known.goes_on:
            return Follow.AGAIN
        if known.by_scan or abs(touch.at - known.since) > SAME_FOLLOW:
            return Follow.NONE
        return Follow.NEW if known.number == 1 else Follow.AGAIN

    @event(Scanned)
    def _scanned(
        self, node: UUID, code_key: str, app: str, follow: Follow, nth_scan: int, staff: str, scanned_at: datetime
    ) -> None:
        self.scans[code_key] = nth_scan
        if Follow(follow) is not Follow.NONE:
            known = self.following.get(app)
            if known and known.goes_on:
                self.following[app] = replace(known, by_scan=True)
            else:
                self.following[app] = Following(known.number + 1 if known else 1, scanned_at, by_scan=True)

    @event(Followed)
    def _followed(self, node: UUID, app: str, followed_at: datetime) -> None:
        known = self.following.get(app)
        self.following[app] = Following(known.number + 1 if known else 1, followed_at)

    @event(Unfollowed)
    def _unfollowed(self, node: UUID, app: str, unfollowed_at: datetime) -> None:
        self.following[app] = replace(self.following[app], goes_on=False)


def touches_id(tenant: str, node: UUID) -> UUID:
    """The touches of a node."""
    return natural_id(tenant, "channel touches", node)
