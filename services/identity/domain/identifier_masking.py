"""Identifiers as those see them who may not see what is personal: enough to recognise one, not enough to use it."""

from typing import Final

from services.identity.domain.masking import HIDDEN, masked_phone

_TAIL: Final = 4
_SHORTEST: Final = 12
"""Of shorter ones the last four characters would tell too much."""


def masked_identifier(namespace: str, spelling: str) -> str:
    """138****0001 of a phone number, a***@example.com of an address, of any other the last four characters if it is long."""
    match namespace:
        case "phone":
            return masked_phone(spelling)
        case "email":
            name, _, domain = spelling.partition("@")
            return f"{name[:1]}{HIDDEN}@{domain}"
    return HIDDEN + spelling[-_TAIL:] if len(spelling) >= _SHORTEST else HIDDEN
