"""Amounts in minor units: cents, fen, or whole yen (ISO 4217)."""

from collections.abc import Mapping
from typing import Final

NANOS: Final = 1_000_000_000

_OTHERS: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}


def scale(currency: str) -> int:
    """How many minor units make one unit of `currency`."""
    return int(10 ** _OTHERS.get(currency, 2))


def minor_units(currency: str, units: int, nanos: int) -> int:
    """`units` and billionths in minor units; what is finer is cut off."""
    parts = scale(currency)
    return units * parts + nanos * parts // NANOS


def major_units(currency: str, minor: int) -> tuple[int, int]:
    """An amount in minor units, not negative, as whole units and billionths."""
    parts = scale(currency)
    units, rest = divmod(minor, parts)
    return units, rest * (NANOS // parts)
