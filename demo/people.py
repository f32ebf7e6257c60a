"""The customers of the data file as people: when they came, on which devices, and how they identify themselves.

The file knows them by five digits only. All else is invented, and rolled from the digits with `bucket`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time
from functools import cache
from typing import Final

import phonenumbers

from demo.buckets import bucket
from demo.calendar import instant

SHOP: Final = "cdnow"
OPEN_PLATFORM: Final = "cdnow-open-platform"

BINDING: Final = time(8, 50)
"""When people log in for the first time: on the day of the first order."""
_SECOND_DEVICES: Final = 2_000
_STORE_TABLETS: Final = 50
_TABLETS: Final = 30
_NUMBERS_PER_AREA: Final = 100
_CONTENTS: Final = 12


@dataclass(frozen=True, slots=True)
class Person:
    """A customer of the file, by the day of the first order."""

    customer: str
    first_day: date

    @property
    def key(self) -> str:
        """What all dice of this person are rolled with, and what experiments assign by."""
        return f"{SHOP}:{self.customer}"

    def roll(self, purpose: str) -> int:
        """This person's number in [0, 10,000) for `purpose`."""
        return bucket(purpose, self.key)

    def anonymous_id(self, device: int = 0) -> str:
        return f"a:{self.key}:{device}"

    @property
    def has_second_device(self) -> bool:
        return self.roll("dev2") < _SECOND_DEVICES

    @property
    def content(self) -> str:
        """What this person reads, again and again."""
        return f"H5-{self.roll('cont') % _CONTENTS}"

    @property
    def union_id(self) -> str:
        """`wx-` and the key, in the form WeChat gives such ids: a hyphen for the colon, filled up to 20 characters."""
        return f"wx-{SHOP}-{self.customer}".ljust(20, "_")

    @property
    def phone(self) -> str:
        """A number that is nobody's: 555-0100 to 555-0199 are kept free for fiction in every area code."""
        area, line = divmod(int(self.customer), _NUMBERS_PER_AREA)
        return f"+1{area_codes()[area]}55501{line:02d}"

    @property
    def store_tablet(self) -> str | None:
        """The device id of a tablet in a store, for those who sign up on one."""
        if self.roll("ipad") >= _STORE_TABLETS:
            return None
        return f"ipad:{self.roll('ipadno') % _TABLETS}"


@dataclass(frozen=True, slots=True)
class Sighting:
    """An identifier shown in a binding call."""

    namespace: str
    value: str
    scope: str = ""
    verified: bool = False


@dataclass(frozen=True, slots=True)
class Binding:
    """A person logs in: what all those identifiers have in common is this person."""

    person: Person
    at: datetime
    sightings: tuple[Sighting, ...]


def people(first_days: Mapping[str, date]) -> list[Person]:
    return [Person(customer, day) for customer, day in first_days.items()]


def bindings(person: Person) -> Iterator[Binding]:
    """The logins of a person, on the morning before the first order: on the own device first, then on a second one."""
    at = instant(person.first_day, BINDING)
    union_id = Sighting("wechat_unionid", person.union_id, OPEN_PLATFORM, verified=True)
    shown = [
        Sighting("anonymous_id", person.anonymous_id()),
        union_id,
        Sighting("phone", person.phone, verified=True),
        Sighting("external_id", person.customer, SHOP, verified=True),
    ]
    if person.store_tablet:
        shown.append(Sighting("device_id", person.store_tablet))
    yield Binding(person, at, tuple(shown))
    if person.has_second_device:
        yield Binding(person, at, (Sighting("anonymous_id", person.anonymous_id(1)), union_id))


@cache
def area_codes() -> tuple[int, ...]:
    """The area codes of the United States."""
    return tuple(it for it in range(200, 1000) if _is_american(f"+1{it}5550100"))


def _is_american(number: str) -> bool:
    parsed = phonenumbers.parse(number)
    return phonenumbers.is_valid_number_for_region(parsed, "US")
