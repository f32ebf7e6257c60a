"""Write keys: what a source shows when it writes, as `<brand>.<source>.<secret>`.

A key is made of the request that asked for it with a secret of this service, so that a repeated request is answered with the same
key although nothing is kept but a digest. Whoever has the database cannot write with it.
"""

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final

from chassis.credentials import is_tenant
from services.tracking.domain.source import is_source_key

_SECRET_BYTES: Final = 24
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True)
class WriteKey:
    """A key as it is shown; whether it is good is for its source to say."""

    tenant: str
    source: str
    secret: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "WriteKey | None":
        """The key in `text`; None for what cannot be one."""
        if len(text) > _LONGEST:
            return None
        tenant, _, rest = text.partition(".")
        source, _, secret = rest.partition(".")
        return cls(tenant, source, secret) if secret and is_tenant(tenant) and is_source_key(source) else None

    @property
    def digest(self) -> bytes:
        """What is kept of it. The secret has 192 bits of chance: there is nothing to guess, and no need to be slow."""
        return sha256(f"{self.tenant}.{self.source}.{self.secret}".encode()).digest()

    def __str__(self) -> str:
        return f"{self.tenant}.{self.source}.{self.secret}"


def write_key(maker: bytes, tenant: str, source: str, request_id: str) -> WriteKey:
    """The key that `request_id` gives a source; `maker` is the secret of this service."""
    made = hmac.digest(maker, f"write key\0{tenant}\0{source}\0{request_id}".encode(), "sha256")[:_SECRET_BYTES]
    return WriteKey(tenant, source, urlsafe_b64encode(made).decode())
