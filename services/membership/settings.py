"""What membership is told by its environment: nothing of its own, so the settings of the chassis."""

from chassis.settings import ChassisSettings

SERVICE = "membership"


def from_environment() -> ChassisSettings:
    """Raises InvalidSettingsError."""
    return ChassisSettings.from_environment(SERVICE)
