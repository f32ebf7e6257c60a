"""What tagging is told by its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from chassis.settings import ChassisSettings


@dataclass(frozen=True, slots=True)
class Settings:
    """Nothing beyond what every service is told."""

    chassis: ChassisSettings

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        return cls(ChassisSettings.from_environment("tagging", environment))
