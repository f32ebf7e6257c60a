"""What tracking is told by its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from chassis.settings import ChassisSettings


@dataclass(frozen=True, slots=True)
class Settings:
    """Nothing beyond what every service is told; SCRM_IDENTITY_ADDRESS is needed."""

    chassis: ChassisSettings

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raises InvalidSettingsError."""
        return cls(ChassisSettings.from_environment("tracking", environment))
