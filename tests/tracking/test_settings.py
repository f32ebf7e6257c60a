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
