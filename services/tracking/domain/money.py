"""Money in minor units: cents, fen, or whole yen."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from chassis.errors import ValueOutOfRange
from services.tracking.domain.errors import CurrencyMismatch, CurrencyUnsupported, NegativeAmount

NANOS: Final = 1_000_000_000
MOST: Final = 10**12
"""More whole units than any order comes to."""

# ISO 4217 by the number of digits after the point.
_CURRENCIES: Final = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP "
        "CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR "
        "JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN "
        "NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP "
        "SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
}
_DIGITS: Final = {code: digits for digits, codes in _CURRENCIES.items() for code in codes.split()}


def minor_units(currency: str, units: int, nanos: int, field: str = "amount") -> int:
    """`units` and billionths of a currency in its minor units.

    Raises CurrencyUnsupported for an unknown currency or a fraction of a minor unit, NegativeAmount below zero.
    """
    digits = _DIGITS.get(currency)
    if digits is None:
        raise CurrencyUnsupported(field=field)
    if units < 0 or nanos < 0:
        raise NegativeAmount(field=field)
    scale: int = 10**digits
    minor, rest = divmod(nanos, NANOS // scale)
    if rest or nanos >= NANOS:
        raise CurrencyUnsupported("the amount is finer than the smallest unit of its currency", field=field)
    return units * scale + minor


def rounded_units(currency: str, amount: Decimal, field: str = "amount") -> int:
    """An amount of a currency in its minor units, rounded half up to a whole one: programs that count in binary add dust.

    Raises CurrencyUnsupported, NegativeAmount, and OUT_OF_RANGE for what no order comes to.
    """
    digits = _DIGITS.get(currency)
    if digits is None:
        raise CurrencyUnsupported(field=field)
    if not amount < MOST:
        raise ValueOutOfRange(f"less than {MOST}", field=field)
    if amount < 0:
        raise NegativeAmount(field=field)
    return int(amount.scaleb(digits).to_integral_value(ROUND_HALF_UP))


def major_units(currency: str, minor: int) -> tuple[int, int]:
    """An amount in minor units, not negative, as whole units and billionths."""
    scale: int = 10 ** _DIGITS[currency]
    units, rest = divmod(minor, scale)
    return units, rest * (NANOS // scale)


def require_currency(expected: str, given: str, field: str = "amount") -> None:
    """Raise CurrencyMismatch unless both are the same."""
    if expected != given:
        raise CurrencyMismatch(field=field)
