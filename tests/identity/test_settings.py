"""What identity is told by its environment: enough, or a refusal to start that names the variable and not its value."""

import pytest

from chassis.settings import InvalidSettingsError
from services.identity.settings import Settings

ENVIRONMENT = {"SCRM_DATABASE_URL": "postgresql://localhost/identity", "SCRM_IDENTITY_HASH_KEY": "k" * 32}


def test_the_defaults_are_enough() -> None:
    settings = Settings.from_environment(ENVIRONMENT)

    assert (settings.hash_key, settings.region, settings.regions) == (b"k" * 32, "CN", {})
    assert settings.chassis.service == "identity"


def test_regions_are_read_by_tenant() -> None:
    told = {**ENVIRONMENT, "SCRM_IDENTITY_REGION": "US", "SCRM_IDENTITY_REGIONS": "acme=DE, globex=FR"}

    settings = Settings.from_environment(told)

    assert (settings.region, settings.regions) == ("US", {"acme": "DE", "globex": "FR"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SCRM_IDENTITY_HASH_KEY", ""),
        ("SCRM_IDENTITY_HASH_KEY", "tooshort"),
        ("SCRM_IDENTITY_REGION", "China"),
        ("SCRM_IDENTITY_REGIONS", "acme"),
    ],
)
def test_nonsense_is_refused(name: str, value: str) -> None:
    with pytest.raises(InvalidSettingsError, match=name) as refused:
        Settings.from_environment({**ENVIRONMENT, name: value})

    assert not value or value not in str(refused.value)


def test_the_secret_does_not_show() -> None:
    assert "kkk" not in repr(Settings.from_environment(ENVIRONMENT))
