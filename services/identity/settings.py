"""What identity is told by its environment."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from chassis.settings import SHORTEST_SECRET, ChassisSettings, InvalidSettingsError, Variables
from services.identity.adapters.key_file import KeyFile


@dataclass(frozen=True, slots=True)
class Settings:
    """`hash_key` (SCRM_IDENTITY_HASH_KEY, at least 32 characters) is the secret behind all keyed hashes of identifiers.

    It must stay the same for ever: with another one nobody is recognised. `keys` (SCRM_IDENTITY_KEYS, the path of a key file)
    are behind the keys that personal values are sealed with. `region` (SCRM_IDENTITY_REGION) is the country
    whose phone numbers need no country code, `regions` (SCRM_IDENTITY_REGIONS, such as `acme=US,globex=DE`) the same
    for single tenants. `erasure_grace` (SCRM_IDENTITY_ERASURE_GRACE, minutes, an hour unless said otherwise) is how long a
    customer may change their mind about being erased, `erasure_graces` (SCRM_IDENTITY_ERASURE_GRACES, such as
    `acme=0,globex=1440`) the same for single tenants.
    """

    chassis: ChassisSettings
    hash_key: bytes = field(repr=False)
    keys: KeyFile = field(repr=False)
    region: str
    regions: Mapping[str, str]
    erasure_grace: timedelta = timedelta(hours=1)
    erasure_graces: Mapping[str, timedelta] = field(default_factory=dict)

    def grace_of(self, tenant: str) -> timedelta:
        """How long this tenant waits before it erases anybody."""
        return self.erasure_graces.get(tenant, self.erasure_grace)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raises InvalidSettingsError."""
        read = Variables(environment)
        hash_key = read.text("SCRM_IDENTITY_HASH_KEY").encode()
        if len(hash_key) < SHORTEST_SECRET:
            raise InvalidSettingsError(f"SCRM_IDENTITY_HASH_KEY needs at least {SHORTEST_SECRET} characters")
        return cls(
            chassis=ChassisSettings.from_environment("identity", environment),
            hash_key=hash_key,
            keys=KeyFile.read(Path(read.text("SCRM_IDENTITY_KEYS"))),
            region=_region(read.text("SCRM_IDENTITY_REGION", "CN"), "SCRM_IDENTITY_REGION"),
            regions=_regions(read.text("SCRM_IDENTITY_REGIONS", "")),
            erasure_grace=_minutes(read.text("SCRM_IDENTITY_ERASURE_GRACE", "60"), "SCRM_IDENTITY_ERASURE_GRACE"),
            erasure_graces={
                tenant: _minutes(minutes, "SCRM_IDENTITY_ERASURE_GRACES")
                for tenant, minutes in _pairs(read.text("SCRM_IDENTITY_ERASURE_GRACES", ""))
            },
        )


def _regions(text: str) -> dict[str, str]:
    return {tenant: _region(region, "SCRM_IDENTITY_REGIONS") for tenant, region in _pairs(text)}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for pair in filter(None, text.split(",")):
        tenant, _, value = pair.partition("=")
        yield tenant.strip(), value.strip()


def _minutes(text: str, name: str) -> timedelta:
    if not text.isascii() or not text.isdecimal():
        raise InvalidSettingsError(f"{name} must be whole minutes")
    return timedelta(minutes=int(text))


def _region(text: str, name: str) -> str:
    if len(text) != 2 or not text.isascii() or not text.isupper():
        raise InvalidSettingsError(f"{name} must name countries by their two capital letters")
    return text
