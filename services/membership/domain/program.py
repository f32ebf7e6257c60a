"""A brand's membership program: its currency and zone, what it takes to join, how points are earned."""

from decimal import Decimal
from functools import lru_cache
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.membership.domain.calendar import zone_exists
from services.membership.domain.earning_rules import Terms
from services.membership.domain.errors import CurrencyUnknown, ZoneUnknown
from services.membership.domain.expiry_rules import ExpiryRule
from services.membership.domain.join_policy import JoinPolicy
from services.membership.domain.money import MINOR_DIGITS


@lru_cache(maxsize=50_000)
def program_id(tenant: str) -> UUID:
    """The one program of a tenant."""
    return natural_id(tenant, "program")


class Program(Aggregate):
    """The one membership program of a tenant."""

    TOPIC = "membership.Program"

    class Defined(InitialEvent):
        TOPIC = "membership.ProgramDefined"
        tenant: str
        code: str
        currency: str
        zone: str
        points_name: str
        points_per_unit: Decimal
        expiry: ExpiryRule

    class JoinPolicySet(Event):
        TOPIC = "membership.JoinPolicySet"
        version: int
        currency: str
        threshold: int
        window_days: int
        revoke_on_refund_days: int

    @event(Defined)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        code: str,
        currency: str,
        zone: str,
        points_name: str,
        points_per_unit: Decimal,
        expiry: ExpiryRule,
    ) -> None:
        self.tenant = tenant
        self.code = code
        self.currency = currency
        self.zone = zone
        self.points_name = points_name
        self.points_per_unit = points_per_unit
        self.expiry = expiry
        self.join_policy: JoinPolicy | None = None

    @classmethod
    def define(
        cls,
        tenant: str,
        code: str,
        currency: str,
        zone: str,
        points_name: str,
        points_per_unit: Decimal,
        expiry: ExpiryRule,
    ) -> "Program":
        """Raises CurrencyUnknown, ZoneUnknown."""
        if currency not in MINOR_DIGITS:
            raise CurrencyUnknown(field="program.currency_code")
        if not zone_exists(zone):
            raise ZoneUnknown(field="program.time_zone")
        return cls(program_id(tenant), tenant, code, currency, zone, points_name, points_per_unit, expiry)

    @property
    def definition(self) -> tuple[object, ...]:
        """What DefineProgram says, to tell the same definition from another."""
        return (
            self.code,
            self.currency,
            self.zone,
            self.points_name,
            self.points_per_unit,
            self.expiry,
        )

    @property
    def terms(self) -> Terms:
        """What an order earns under this program."""
        return Terms(self.currency, self.zone, self.points_per_unit)

    def set_join_policy(self, threshold: int, window_days: int, revoke_on_refund_days: int) -> JoinPolicy:
        """Customers join at `threshold` minor units net within `window_days` from now on.

        Nobody loses a membership by it, and who would now qualify joins with their next order.
        """
        wanted = (threshold, window_days, revoke_on_refund_days)
        present = self.join_policy
        if present is None or wanted != (
            present.threshold,
            present.window_days,
            present.revoke_on_refund_days,
        ):
            version = present.version + 1 if present is not None else 1
            self._join_policy_set(version, self.currency, *wanted)
        assert self.join_policy is not None  # noqa: S101 - set by the line before
        return self.join_policy

    @event(JoinPolicySet)
    def _join_policy_set(
        self, version: int, currency: str, threshold: int, window_days: int, revoke_on_refund_days: int
    ) -> None:
        self.join_policy = JoinPolicy(version, threshold, window_days, revoke_on_refund_days, currency, self.zone)
