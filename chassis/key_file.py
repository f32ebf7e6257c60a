"""The keys of tenants derived from a key file, for installations without a key management service.

The file is JSON, `{"newest": "2026-11", "keys": {"2026-11": "<64 hexadecimal digits>"}}`. Each root key gives every tenant a key of
its own (HKDF-SHA256, RFC 5869). To rotate, add a root key, name it as newest, restart, wrap or seal anew what the old one is behind, and
take the old one out.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chassis.settings import InvalidSettingsError, Variables

KEY_BYTES: Final = 32


class KeyFile:
    """Keys of tenants, by the names of the root keys they are derived from."""

    def __init__(self, newest: str, roots: Mapping[str, bytes]) -> None:
        self._newest = newest
        self._roots = dict(roots)

    @classmethod
    def named_by(cls, variable: str, read: Variables) -> "KeyFile":
        """The file at the path in `variable`. Raises InvalidSettingsError, which says nothing of the keys."""
        path = Path(read.text(variable))
        try:
            content = json.loads(path.read_text())
            newest, roots = content["newest"], {str(name): bytes.fromhex(it) for name, it in content["keys"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise InvalidSettingsError(f"{variable} must name a readable key file") from None
        if newest not in roots or any(len(it) != KEY_BYTES for it in roots.values()):
            raise InvalidSettingsError(f"the key file needs keys of {KEY_BYTES} bytes, the newest among them")
        return cls(newest, roots)

    def newest(self, tenant: str) -> str:
        """The name of the key that is to be used for what is new."""
        return self._newest

    def key(self, tenant: str, name: str) -> bytes:
        """The key of that name, 32 bytes. Raises KeyError when there is none."""
        derivation = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"scrm tenant key\0" + tenant.encode())
        return derivation.derive(self._roots[name])
