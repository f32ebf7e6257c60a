"""What campaigns is told by its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from chassis.settings import ChassisSettings, Variables
from services.campaigns.application.dispatcher import Pace


@dataclass(frozen=True, slots=True)
class Settings:
    """SCRM_LEASE_SECONDS: how long a reservation outlives the process that made it."""

    chassis: ChassisSettings
    pace: Pace

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        read = Variables(environment)
        lease = timedelta(seconds=read.decimal("SCRM_LEASE_SECONDS", Pace().lease.total_seconds()))
        pace = Pace(lease=lease, call=min(Pace().call, lease * 0.6))
        return cls(ChassisSettings.from_environment("campaigns", environment), pace)
