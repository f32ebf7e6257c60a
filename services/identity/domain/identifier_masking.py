"""Identifiers as those see them who may not see what is personal: enough to recognise one, not enough to use it."""

from typing import Final

import phonenumbers

HIDDEN: Final = "****"
_HEAD: Final = 3
_TAIL: Final = 4
_SHORTEST: Final = 2 * (_HEAD + _TAIL)


def masked_identifier(namespace: str, spelling: str) -> str:
    """138****0001 of a phone number (without its country code), a***@example.com of an address, the last four of a long one else."""
    match namespace:
        case "phone":
            return _phone(spelling)
        case "email":
            name, _, domain = spelling.partition("@")
            return f"{name[:1]}***@{domain}"
    return HIDDEN + spelling[-_TAIL:] if len(spelling) >= _SHORTEST else HIDDEN


def _phone(e164: str) -> str:
    national = str(phonenumbers.parse(e164).national_number)
    shown = _HEAD if len(national) >= _HEAD + len(HIDDEN) + _TAIL else 0
    return national[:shown] + HIDDEN + national[-_TAIL:]
