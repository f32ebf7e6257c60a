"""What tracking is told by its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from chassis.key_file import KeyFile
from chassis.settings import ChassisSettings, InvalidSettingsError, Variables


@dataclass(frozen=True, slots=True)
class Settings:
    """`keys` (SCRM_TRACKING_KEYS, the path of a key file) are behind the keys that secrets of other platforms are sealed with.

    For how many days things are kept since they were received: what came in and was resolved SCRM_TRACKING_ACCEPTED_DAYS, what was put
    aside SCRM_TRACKING_ASIDE_DAYS, and behaviours SCRM_TRACKING_BEHAVIOUR_DAYS, at least the 400 that reports go back.
    SCRM_IDENTITY_ADDRESS is needed.
    """

    chassis: ChassisSettings
    keys: KeyFile = field(repr=False)
    accepted_days: int = 100
    aside_days: int = 90
    behaviour_days: int = 1116

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raises InvalidSettingsError."""
        chassis = ChassisSettings.from_environment("tracking", environment)
        read = Variables(environment)
        return cls(
            chassis,
            KeyFile.named_by("SCRM_TRACKING_KEYS", read),
            _days(read, "SCRM_TRACKING_ACCEPTED_DAYS", 100, least=31),
            _days(read, "SCRM_TRACKING_ASIDE_DAYS", 90, least=1),
            _days(read, "SCRM_TRACKING_BEHAVIOUR_DAYS", 1116, least=401),
        )


def _days(read: Variables, name: str, default: int, *, least: int) -> int:
    days = read.number(name, default)
    if not least <= days <= 36_500:
        raise InvalidSettingsError(f"{name} must be at least {least}, and no more than a century")
    return days
