"""What is known of a customer that may tell that two are one person, in the spelling in which it is compared.

Names are compared twice: as they are written, and as they sound (pinyin without tones for Chinese, without accents for
the rest), so that 李伟 and Li Wei are found to be alike, yet not the same. The order of their words does not matter: forms
ask for given name and surname in either.
"""

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from typing import Final
from uuid import UUID

LAST_DIGITS: Final = 7

_APART: Final = re.compile(r"[\W_]+")
_NOT_DIGITS: Final = re.compile(r"\D")
_FULL_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class Traits:
    """The traits of one customer as compared; "" and empty sets where nothing is known.

    `name` and `sound` have their words in alphabetical order. `birthdate` is YYYYMMDD, and only what has a year: the day
    alone is shared by too many. `devices` are keyed hashes of devices that are not shared by many, `phones` the last
    digits of phone numbers.
    """

    customer: UUID
    name: str = ""
    sound: str = ""
    birthdate: str = ""
    gender: str = ""
    address: str = ""
    district: str = ""
    devices: frozenset[bytes] = frozenset()
    phones: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one customer, as it was given; None and empty where nothing is."""

    customer: UUID
    name: str | None = None
    birthdate: str | None = None
    gender: str | None = None
    address: str | None = None
    district: str | None = None
    devices: frozenset[bytes] = frozenset()
    phones: tuple[str, ...] = ()

    def traits(self) -> Traits:
        """The same as it is compared."""
        return Traits(
            customer=self.customer,
            name=" ".join(sorted(spelled(self.name or "").split())),
            sound=sound(self.name or ""),
            birthdate=digits_of_date(self.birthdate or ""),
            gender=spelled(self.gender or ""),
            address=spelled(self.address or "").replace(" ", ""),
            district=spelled(self.district or "").replace(" ", ""),
            devices=self.devices,
            phones=frozenset(it for it in map(last_digits, self.phones) if it),
        )


def spelled(text: str) -> str:
    """Lower case, one form of each character, one space between words and nothing else."""
    if text.isascii():
        return " ".join(_APART.split(text.lower())).strip()
    return " ".join(_APART.split(unicodedata.normalize("NFKC", text).casefold())).strip()


def sound(name: str) -> str:
    """How a name sounds: its words and syllables in Latin letters without accents, in alphabetical order."""
    return " ".join(sorted(syllables(name)))


def syllables(name: str) -> list[str]:
    """The words and syllables of a name as they sound, in their order."""
    words = spelled(name)
    if not words.isascii():
        from pypinyin import Style, lazy_pinyin  # a fifth of the time to import identity, for names that are not Latin

        words = " ".join(lazy_pinyin(words, style=Style.NORMAL, v_to_u=False))
        plain = unicodedata.normalize("NFKD", words)
        words = "".join(it for it in plain if not unicodedata.combining(it))
    return words.split()


def digits_of_date(text: str) -> str:
    """YYYYMMDD of an ISO date that there is; "" for anything else, also for a day without a year."""
    if _FULL_DATE.fullmatch(text) is None:
        return ""
    try:
        date.fromisoformat(text)
    except ValueError:
        return ""
    return text.replace("-", "")


def last_digits(phone: str) -> str:
    """What stays of a phone number however its country and area are written; "" for one that is too short."""
    digits = _NOT_DIGITS.sub("", phone)
    return digits[-LAST_DIGITS:] if len(digits) >= LAST_DIGITS else ""
