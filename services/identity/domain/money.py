"""Amounts in minor units, and how many of them make one unit of a currency (ISO 4217)."""

from collections.abc import Mapping

MINOR_DIGITS: Mapping[str, int] = {
    "AUD": 2, "BRL": 2, "CAD": 2, "CHF": 2, "CNY": 2, "DKK": 2, "EUR": 2, "GBP": 2, "HKD": 2,
    "IDR": 2, "INR": 2, "JPY": 0, "KRW": 0, "KWD": 3, "MOP": 2, "MXN": 2, "MYR": 2, "NOK": 2,
    "NZD": 2, "PHP": 2, "PLN": 2, "SEK": 2, "SGD": 2, "THB": 2, "TWD": 2, "USD": 2, "VND": 0,
    "ZAR": 2,
}  # fmt: skip


def minor_units(units: int, nanos: int, currency: str) -> int | None:
    """Minor units of `units` + `nanos` billionths; None for an unknown currency or a fraction of one."""
    digits = MINOR_DIGITS.get(currency)
    if digits is None:
        return None
    minor, fraction = divmod(nanos, 10 ** (9 - digits))
    return None if fraction else units * 10**digits + minor


def money_parts(minor: int, currency: str) -> tuple[int, int]:
    """`minor` minor units as whole units and billionths."""
    scale = 10 ** MINOR_DIGITS[currency]
    units, rest = divmod(minor, scale)
    return units, rest * (10**9 // scale)
