"""The secrets of WeChat accounts as they are stored: sealed with a key of the tenant, bound to the source and the account.

AES-256-GCM (NIST SP 800-38D) with a random nonce. They have to be read to check what a platform sends, so a digest does not do.
"""

import os
from typing import Final

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from chassis.key_file import KeyFile
from services.tracking.domain.source import WechatAccount, WechatPlatform
from services.tracking.domain.wechat_crypto import Secrets

_NONCE_BYTES: Final = 12


class SealBroken(Exception):
    """The secrets do not open: their key is gone, or they were sealed for another account."""


class AccountSeal:
    """Seals and opens with the keys in `keys`."""

    def __init__(self, keys: KeyFile) -> None:
        self._keys = keys

    def sealed(
        self, tenant: str, source: str, platform: WechatPlatform, account_id: str, secrets: Secrets
    ) -> WechatAccount:
        """The account with its secrets, under the newest key."""
        name = self._keys.newest(tenant)
        nonce = os.urandom(_NONCE_BYTES)
        content = orjson.dumps([secrets.token, secrets.key.hex()])
        cipher = AESGCM(self._keys.key(tenant, name))
        sealed = nonce + cipher.encrypt(nonce, content, _place(tenant, source, platform, account_id))
        return WechatAccount(platform, account_id, bool(secrets.key), name, sealed)

    def opened(self, tenant: str, source: str, account: WechatAccount) -> Secrets:
        """The secrets of an account. Raises SealBroken."""
        nonce, sealed = account.sealed[:_NONCE_BYTES], account.sealed[_NONCE_BYTES:]
        place = _place(tenant, source, account.platform, account.account_id)
        try:
            token, key = orjson.loads(AESGCM(self._keys.key(tenant, account.sealed_by)).decrypt(nonce, sealed, place))
        except KeyError:
            raise SealBroken(f"the key {account.sealed_by} is not in the key file") from None
        except InvalidTag:
            raise SealBroken("the seal does not fit") from None
        return Secrets(token, bytes.fromhex(key))


def _place(tenant: str, source: str, platform: WechatPlatform, account_id: str) -> bytes:
    return "\0".join((tenant, source, platform, account_id)).encode()
