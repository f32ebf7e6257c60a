"""What tracking is told by its environment: enough, or a refusal to start that names the variable and not its value."""

import json
from pathlib import Path

import pytest

from chassis.settings import InvalidSettingsError
from services.tracking.settings import Settings


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"newest": "a", "keys": {"a": "0a" * 32}}))
    return {"SCRM_DATABASE_URL": "postgresql://localhost/tracking", "SCRM_TRACKING_KEYS": str(keys)}


def test_the_key_file_is_read_and_does_not_show(environment: dict[str, str]) -> None:
    settings = Settings.from_environment(environment)
    assert settings.keys.newest("acme") == "a"
    assert settings.keys.key("acme", "a") != settings.keys.key("globex", "a")
    assert "0a0a" not in repr(settings)


@pytest.mark.parametrize("path", ["", "/nowhere"])
def test_without_a_key_file_it_does_not_start(environment: dict[str, str], path: str) -> None:
    with pytest.raises(InvalidSettingsError, match="SCRM_TRACKING_KEYS") as refused:
        Settings.from_environment({**environment, "SCRM_TRACKING_KEYS": path})
    assert not path or path not in str(refused.value)


def test_how_long_things_are_kept_is_said_in_days(environment: dict[str, str]) -> None:
    settings = Settings.from_environment({**environment, "SCRM_TRACKING_BEHAVIOUR_DAYS": "401"})
    assert (settings.accepted_days, settings.aside_days, settings.behaviour_days) == (100, 90, 401)
    for name, value in (("BEHAVIOUR", "400"), ("ACCEPTED", "30"), ("ASIDE", "0"), ("ASIDE", "x")):
        with pytest.raises(InvalidSettingsError, match=f"SCRM_TRACKING_{name}_DAYS"):
            Settings.from_environment({**environment, f"SCRM_TRACKING_{name}_DAYS": value})
