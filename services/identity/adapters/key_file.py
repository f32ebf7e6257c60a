"""The keys of tenants derived from a key file, for installations without a key management service.

The file is JSON, `{"newest": "2026-11", "keys": {"2026-11": "<64 hexadecimal digits>"}}`. Each root key gives every tenant a key of
its own (HKDF-SHA256, RFC 5869). To rotate, add a root key, name it as newest, restart, run `rewrap` and take the old one out.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chassis.settings import InvalidSettingsError
from services.identity.domain.sealing import KEY_BYTES


class KeyFile:
    """A KeyProvider over root keys by name."""

    def __init__(self, newest: str, roots: Mapping[str, bytes]) -> None:
        self._newest = newest
        self._roots = dict(roots)

    @classmethod
    def read(cls, path: Path) -> "KeyFile":
        """Raises InvalidSettingsError, which says nothing of the keys."""
        try:
            content = json.loads(path.read_text())
            newest, roots = content["newest"], {str(name): bytes.fromhex(it) for name, it in content["keys"].items()}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise InvalidSettingsError("SCRM_IDENTITY_KEYS must name a readable key file") from None
        if newest not in roots or any(len(it) != KEY_BYTES for it in roots.values()):
            raise InvalidSettingsError(f"the key file needs keys of {KEY_BYTES} bytes, the newest among them")
        return cls(newest, roots)

    def newest(self, tenant: str) -> str:
        return self._newest

    def key(self, tenant: str, name: str) -> bytes:
        derivation = HKDF(SHA256(), KEY_BYTES, salt=None, info=b"scrm tenant key\0" + tenant.encode())
        return derivation.derive(self._roots[name])
