"""What tracking is told by its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from chassis.key_file import KeyFile
from chassis.settings import ChassisSettings, Variables


@dataclass(frozen=True, slots=True)
class Settings:
    """`keys` (SCRM_TRACKING_KEYS, the path of a key file) are behind the keys that secrets of other platforms are sealed with.

    SCRM_IDENTITY_ADDRESS is needed.
    """

    chassis: ChassisSettings
    keys: KeyFile = field(repr=False)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raises InvalidSettingsError."""
        chassis = ChassisSettings.from_environment("tracking", environment)
        return cls(chassis, KeyFile.named_by("SCRM_TRACKING_KEYS", Variables(environment)))
