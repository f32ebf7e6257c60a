"""What the address of a tracked link says beside its code: through which message, share, group, code or person it came (TR-7).

It is signed by the brand, so that nobody makes up clicks on a delivery or visits of a share. What is not signed, or was changed, says
nothing: the person who clicked is led on all the same.
"""

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import urlencode

LONGEST: Final = 128
SIGNATURE: Final = "k"

_PARAMETERS: Final = {"d": "delivery_id", "s": "share_id", "f": "staff_code", "c": "code_key", "g": "group_id"}
_MAC_BYTES: Final = 15  # 120 bits: 20 letters


@dataclass(frozen=True, slots=True)
class LinkContext:
    """Empty texts say nothing."""

    delivery_id: str = ""
    share_id: str = ""
    staff_code: str = ""
    code_key: str = ""
    group_id: str = ""

    def __bool__(self) -> bool:
        return any(getattr(self, it) for it in _PARAMETERS.values())


def signed(context: LinkContext, place: str, key_name: str, key: bytes) -> str:
    """The context as the query of an address, without the question mark; `place` names the brand and the link."""
    said = {name: value for name, field in _PARAMETERS.items() if (value := getattr(context, field))}
    if not said:
        return ""
    return urlencode({**said, SIGNATURE: f"{key_name}.{_mac(context, place, key)}"})


def read(query: Mapping[str, str]) -> tuple[LinkContext, str, str]:
    """What a query says, the name of the key it is signed with, and the signature; the context is worth nothing until it is checked."""
    context = LinkContext(**{field: query.get(name, "") for name, field in _PARAMETERS.items()})
    key_name, _, mac = query.get(SIGNATURE, "").rpartition(".")
    return context, key_name, mac


def is_signed(context: LinkContext, place: str, mac: str, key: bytes) -> bool:
    """Whether `mac` was made of this context for this place."""
    return hmac.compare_digest(mac.encode(), _mac(context, place, key).encode())


def _mac(context: LinkContext, place: str, key: bytes) -> str:
    said = (place, *(getattr(context, it) for it in _PARAMETERS.values()))
    content = b"".join(b"%d:%b" % (len(it), it) for it in (text.encode() for text in said))
    return urlsafe_b64encode(hmac.digest(key, b"scrm link\0" + content, sha256)[:_MAC_BYTES]).decode()
