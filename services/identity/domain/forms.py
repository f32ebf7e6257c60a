"""The forms in which identifiers are written: each function gives the one spelling under which a value is looked up.

A form raises `Malformed` for what cannot be an identifier of its kind. Nothing is corrected beyond what is said here.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, ValidationResult

Form = Callable[[str, str], str]
"""`(value, region) → spelling`; `region` is the ISO 3166 country whose phone numbers need no country code."""


class FormName(StrEnum):
    """The forms by the names under which they are recorded; `FORMS` has the functions."""

    MEMBER_NO = "MEMBER_NO"
    WECHAT_UNIONID = "WECHAT_UNIONID"
    PHONE = "PHONE"
    EMAIL = "EMAIL"
    AS_IS = "AS_IS"
    TRIMMED = "TRIMMED"
    SHORT = "SHORT"


_MEMBER_NO: Final = re.compile(r"[A-Z0-9-]{4,32}")
_UNIONID: Final = re.compile(r"[A-Za-z0-9_-]{20,64}")
_EMAIL: Final = re.compile(r"[^\s@]{1,64}@[^\s@.]+(\.[^\s@.]+)*")
_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_LONGEST_EMAIL: Final = 254

_BLOCKED: Final = re.compile(r"[0-]*|-1|null|undefined|anonymous|none|test", re.IGNORECASE)


class Malformed(ValueError):
    """The value does not have the form of its namespace."""


def is_blocked(value: str) -> bool:
    """Whether `value` is what broken clients send in place of an identifier, such as "null" or zeros."""
    return _BLOCKED.fullmatch(value.strip()) is not None


def composed(value: str) -> str:
    """`value` in Unicode normal form C, in which the same text is always the same characters."""
    return value if value.isascii() else unicodedata.normalize("NFC", value)


def member_no(value: str, _region: str) -> str:
    """Trimmed, upper case: 4 to 32 of A-Z, 0-9 and hyphen."""
    return _matching(_MEMBER_NO, _ascii(value.strip()).upper())


def wechat_unionid(value: str, _region: str) -> str:
    """20 to 64 of letters, digits, underscore and hyphen; case matters."""
    return _matching(_UNIONID, value)


def phone(value: str, region: str) -> str:
    """E.164, such as +8613800000001; a number of possible length in its country, without extension."""
    try:
        number = phonenumbers.parse(value, region)
    except NumberParseException:
        raise Malformed from None
    possible = phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE
    if number.extension or not possible or any(it.isalpha() for it in value):
        raise Malformed
    return _matching(_E164, phonenumbers.format_number(number, PhoneNumberFormat.E164))


def email(value: str, _region: str) -> str:
    """Trimmed, the whole address in lower case; dots and plus parts are left alone."""
    address = composed(value.strip().lower())
    if len(address) > _LONGEST_EMAIL:
        raise Malformed
    return _matching(_EMAIL, address)


def as_is(value: str, _region: str) -> str:
    """Up to 128 characters, unchanged."""
    return _at_most(128, value)


def trimmed(value: str, _region: str) -> str:
    """Up to 128 characters after trimming."""
    return _at_most(128, value.strip())


def short(value: str, _region: str) -> str:
    """Up to 64 characters (a UUID or what an SDK makes instead), unchanged."""
    return _at_most(64, value)


def _ascii(value: str) -> str:
    if not value.isascii():
        raise Malformed
    return value


def _matching(pattern: re.Pattern[str], value: str) -> str:
    if pattern.fullmatch(value) is None:
        raise Malformed
    return value


def _at_most(length: int, value: str) -> str:
    if not value or len(value) > length:
        raise Malformed
    return value


FORMS: Final[Mapping[FormName, Form]] = {
    FormName.MEMBER_NO: member_no,
    FormName.WECHAT_UNIONID: wechat_unionid,
    FormName.PHONE: phone,
    FormName.EMAIL: email,
    FormName.AS_IS: as_is,
    FormName.TRIMMED: trimmed,
    FormName.SHORT: short,
}
