"""What a brand decided for its organisation: who stays the guide when several are scanned, and when a day begins."""

from datetime import date, datetime
from enum import StrEnum
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.identity.domain.errors import UnknownTimeZone

DEFAULT_ZONE: Final = "UTC"


class AssignmentRule(StrEnum):
    """Whether the first guide whose code is scanned stays the guide, or the last one is."""

    ASSIGN_FIRST = "ASSIGN_FIRST"
    ASSIGN_LAST = "ASSIGN_LAST"


class OrgSettings(Aggregate):
    """The decisions of one tenant, from the first time any is made."""

    TOPIC = "identity.OrgSettings"

    class Opened(InitialEvent):
        """The first decision was made."""

        TOPIC = "identity.OrgSettingsOpened"
        tenant: str

    class Changed(Event):
        """Something was decided anew."""

        TOPIC = "identity.OrgSettingsChanged"
        assignment: AssignmentRule
        time_zone: str
        changed_at: datetime

    @event(Opened)
    def __init__(self, id: UUID, tenant: str) -> None:
        self.tenant = tenant
        self.assignment = AssignmentRule.ASSIGN_FIRST
        self.time_zone = DEFAULT_ZONE

    @classmethod
    def of_tenant(cls, tenant: str) -> "OrgSettings":
        """As they are while nothing is decided."""
        return cls(settings_id(tenant), tenant)

    def decide(self, assignment: AssignmentRule, time_zone: str, at: datetime) -> None:
        """Raises UnknownTimeZone."""
        require_zone(time_zone)
        if (assignment, time_zone) != (self.assignment, self.time_zone):
            self._changed(assignment=assignment, time_zone=time_zone, changed_at=at)

    def local_day(self, at: datetime) -> date:
        """The day it is for the brand."""
        return at.astimezone(ZoneInfo(self.time_zone)).date()

    @event(Changed)
    def _changed(self, assignment: AssignmentRule, time_zone: str, changed_at: datetime) -> None:
        self.assignment = assignment
        self.time_zone = time_zone


def settings_id(tenant: str) -> UUID:
    return natural_id(tenant, "org_settings")


def require_zone(name: str) -> None:
    """Raises UnknownTimeZone for what is no IANA zone."""
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UnknownTimeZone(field="time_zone") from None
