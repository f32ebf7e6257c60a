"""Channel codes (TR-4): QR codes and live codes by which people find to a brand, each known by a key that is never used again."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from chassis.errors import BadFormat, FieldRequired, FieldTooLong, ValueOutOfRange
from services.tracking.domain.errors import ChannelCodeArchived, CodeLimit

MOST_STAFF: Final = 100
MOST_TAGS: Final = 50
MOST_PERMANENT: Final = 100_000
LONGEST_TEMPORARY: Final = timedelta(days=30)

_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,30}")


class CodeKind(StrEnum):
    """Where a code leads to, and whose limits it has."""

    OA_TEMP = "OA_TEMP"
    OA_PERMANENT = "OA_PERMANENT"
    WECOM_CONTACT = "WECOM_CONTACT"
    MINIPROGRAM = "MINIPROGRAM"
    H5 = "H5"


@dataclass(frozen=True, slots=True)
class CodeDesign:
    """What a code is for ever; `app` is the account or app it belongs to. Texts are empty where nothing is said."""

    kind: CodeKind
    app: str
    channel: str
    campaign: str
    store: str
    expires_at: datetime | None

    def check(self, now: datetime) -> None:
        """Raise FieldRequired, OUT_OF_RANGE."""
        if self.expires_at is not None and self.expires_at <= now:
            raise ValueOutOfRange("a code expires in the future", field="expire_time")
        if self.kind is not CodeKind.OA_TEMP:
            return
        if self.expires_at is None:
            raise FieldRequired("a temporary code expires", field="expire_time")
        if self.expires_at - now > LONGEST_TEMPORARY:
            raise ValueOutOfRange("at most 30 days", field="expire_time")


@dataclass(frozen=True, slots=True)
class CodeTerms:
    """What can be changed of a code: who receives those who scan it, the tags they get, and how they are welcomed."""

    staff: tuple[str, ...] = ()
    auto_tags: tuple[str, ...] = ()
    welcome_template: str = ""

    def check(self, kind: CodeKind) -> None:
        """Raise FieldRequired, FieldTooLong."""
        if kind is CodeKind.WECOM_CONTACT and not self.staff:
            raise FieldRequired("a live code leads to somebody", field="staff_ids")
        if len(self.staff) > MOST_STAFF:
            raise FieldTooLong(f"at most {MOST_STAFF} members of staff", field="staff_ids")
        if len(self.auto_tags) > MOST_TAGS:
            raise FieldTooLong(f"at most {MOST_TAGS} tags", field="auto_tags")


class ChannelCode(Aggregate):
    """One code; archived it leads nowhere new, but whoever scanned it still came by it."""

    TOPIC = "tracking.ChannelCode"

    class Created(InitialEvent):
        TOPIC = "tracking.ChannelCodeCreated"
        tenant: str
        code_key: str
        design: CodeDesign
        terms: CodeTerms

    class Updated(Event):
        TOPIC = "tracking.ChannelCodeUpdated"
        code_key: str
        terms: CodeTerms

    class Archived(Event):
        TOPIC = "tracking.ChannelCodeArchived"
        code_key: str

    @event(Created)
    def __init__(self, id: UUID, tenant: str, code_key: str, design: CodeDesign, terms: CodeTerms) -> None:
        self.tenant = tenant
        self.code_key = code_key
        self.design = design
        self.terms = terms
        self.is_archived = False

    def update(self, terms: CodeTerms) -> None:
        """Raises ChannelCodeArchived, FieldRequired, FieldTooLong."""
        if terms == self.terms:
            return
        if self.is_archived:
            raise ChannelCodeArchived
        terms.check(self.design.kind)
        self._updated(self.code_key, terms)

    def archive(self) -> None:
        if not self.is_archived:
            self._archived(self.code_key)

    @event(Updated)
    def _updated(self, code_key: str, terms: CodeTerms) -> None:
        self.terms = terms

    @event(Archived)
    def _archived(self, code_key: str) -> None:
        self.is_archived = True


class PermanentCodes(Aggregate):
    """How many permanent codes one account has used up: the platform gives no more than 100,000, and takes none back."""

    TOPIC = "tracking.PermanentCodes"

    class Opened(InitialEvent):
        TOPIC = "tracking.PermanentCodesOpened"
        tenant: str
        app: str

    class Taken(Event):
        """Another one is used up; `count` of them are now."""

        TOPIC = "tracking.PermanentCodeTaken"
        count: int

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, app: str) -> None:
        self.tenant = tenant
        self.app = app
        self.count = 0

    def take(self) -> None:
        """Raises CodeLimit."""
        if self.count >= MOST_PERMANENT:
            raise CodeLimit(limit=MOST_PERMANENT)
        self._taken(self.count + 1)

    @event(Taken)
    def _taken(self, count: int) -> None:
        self.count = count


def code_id(tenant: str, code_key: str) -> UUID:
    """The id of the one code with this key."""
    return natural_id(tenant, "channel code", code_key)


def permanent_codes_id(tenant: str, app: str) -> UUID:
    return natural_id(tenant, "permanent codes", app)


def require_key(code_key: str) -> None:
    """Raise BadFormat unless every platform takes the key: 1 to 30 of A-Z, a-z, 0-9, _ and -."""
    if not _KEY.fullmatch(code_key):
        raise BadFormat("1 to 30 of A-Z, a-z, 0-9, _ and -", field="code_key")
