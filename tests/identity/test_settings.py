"""What identity is told by its environment: enough, or a refusal to start that names the variable and not its value."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast
from uuid import uuid4

import pytest

from chassis.consumer import Joint, Subscription
from chassis.due_times import Timer, Together
from chassis.kit import Kit
from chassis.settings import InvalidSettingsError
from services.identity.application.attribute_commands import EndMinority
from services.identity.application.attribute_upsert import COMING_OF_AGE
from services.identity.application.profile_policies import keep_what_is_told
from services.identity.service import service
from services.identity.settings import Settings


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"newest": "b", "keys": {"a": "0a" * 32, "b": "0b" * 32}}))
    return {
        "SCRM_DATABASE_URL": "postgresql://localhost/identity",
        "SCRM_IDENTITY_HASH_KEY": "k" * 32,
        "SCRM_IDENTITY_KEYS": str(keys),
    }


def test_the_defaults_are_enough(environment: dict[str, str]) -> None:
    settings = Settings.from_environment(environment)

    assert (settings.hash_key, settings.region, settings.regions) == (b"k" * 32, "CN", {})
    assert settings.chassis.service == "identity"


def test_regions_are_read_by_tenant(environment: dict[str, str]) -> None:
    told = {**environment, "SCRM_IDENTITY_REGION": "US", "SCRM_IDENTITY_REGIONS": "acme=DE, globex=FR"}

    settings = Settings.from_environment(told)

    assert (settings.region, settings.regions) == ("US", {"acme": "DE", "globex": "FR"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SCRM_IDENTITY_HASH_KEY", ""),
        ("SCRM_IDENTITY_HASH_KEY", "tooshort"),
        ("SCRM_IDENTITY_KEYS", ""),
        ("SCRM_IDENTITY_KEYS", "/nowhere"),
        ("SCRM_IDENTITY_REGION", "China"),
        ("SCRM_IDENTITY_REGIONS", "acme"),
    ],
)
def test_nonsense_is_refused(name: str, value: str, environment: dict[str, str]) -> None:
    with pytest.raises(InvalidSettingsError, match=name) as refused:
        Settings.from_environment({**environment, name: value})

    assert not value or value not in str(refused.value)


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        "{",
        '{"newest": "a", "keys": {}}',
        '{"newest": "a", "keys": {"a": "0a0a"}}',
        '{"newest": "a", "keys": {"a": "not hexadecimal"}}',
    ],
)
def test_a_key_file_that_makes_no_sense_is_refused(content: str, environment: dict[str, str]) -> None:
    Path(environment["SCRM_IDENTITY_KEYS"]).write_text(content)

    with pytest.raises(InvalidSettingsError, match="key file"):
        Settings.from_environment(environment)


def test_no_secret_shows(environment: dict[str, str]) -> None:
    settings = Settings.from_environment(environment)

    assert "kkk" not in repr(settings)
    assert "0b0b" not in repr(settings)
    assert "\\x0b" not in repr(settings)


def test_birthdays_come_due_in_the_service(environment: dict[str, str]) -> None:
    made = service(Settings.from_environment(environment))

    node = uuid4()
    timer = Timer(COMING_OF_AGE, str(node), datetime(2026, 5, 1, tzinfo=UTC))
    make = made.timers[timer.kind]
    assert not isinstance(make, Together)
    assert make(timer) == EndMinority(node)


def kept_twice(subscriptions: Sequence[Subscription]) -> set[tuple[str, str]]:
    """Streams and events that more than one of them keeps: there is one inbox, and each message may be in it once."""
    kept = Counter((stream, event) for it in subscriptions if it.keep for stream in it.streams for event in it.events)
    return {it for it, times in kept.items() if times > 1}


def test_no_message_is_kept_twice(environment: dict[str, str]) -> None:
    made = service(Settings.from_environment(environment)).subscriptions(cast(Kit, None))
    subscriptions = [one for it in made for one in (it.subscriptions if isinstance(it, Joint) else [it])]

    assert kept_twice(subscriptions) == set()
    assert any(it.keep for it in subscriptions)


def test_a_message_that_two_subscriptions_keep_is_found() -> None:
    one, other = (Subscription(it, ["campaigns"], keep_what_is_told, keep=True, events=["sent"]) for it in "ab")

    assert kept_twice([one, other]) == {("campaigns", "sent")}
