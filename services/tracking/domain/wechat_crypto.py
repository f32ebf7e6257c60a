"""How WeChat proves and hides what it sends: the signatures and the cipher of official accounts and of WeCom.

A signature is the SHA-1 of the sorted parts (token, timestamp, nonce and, where there is one, the ciphertext). The cipher is AES-256-CBC
with PKCS#7 to blocks of 32 bytes and the first half of the key as its vector; inside are 16 random bytes, the length of the message
(big endian, 4 bytes), the message, and the id of the account it is for. Nothing is decrypted before its signature was checked.
"""

import binascii
from base64 import b64decode
from dataclasses import dataclass, field
from hashlib import sha1
from hmac import compare_digest
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC

TOLERANCE: Final = 300
"""Seconds by which the timestamp of a callback may differ from our clock: what is older is a replay."""

_PADDED_TO: Final = 32
_CIPHER_BLOCK: Final = 16
_RANDOM: Final = 16
_LENGTH: Final = 4
_LONGEST_TIMESTAMP: Final = 11


class NotFromPlatform(Exception):
    """The signature is not made with the token of the account, or it is too old."""


class CannotDecrypt(Exception):
    """The ciphertext was not made with the key of the account, or not for the account."""


@dataclass(frozen=True, slots=True)
class Secrets:
    """What an account and its platform share; `key` is the decoded EncodingAESKey, empty in plain mode."""

    token: str = field(repr=False)
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """What a callback brings to prove where it is from."""

    signature: str
    timestamp: str
    nonce: str

    def check(self, token: str, now: float, ciphertext: str = "") -> None:
        """Raises NotFromPlatform. `now` is in seconds since 1970."""
        expected = signature(token, self.timestamp, self.nonce, ciphertext)
        if not compare_digest(expected.encode(), self.signature.encode()):
            raise NotFromPlatform("the signature does not fit")
        if not _is_fresh(self.timestamp, now):
            raise NotFromPlatform("the timestamp is too far from now")


def signature(token: str, timestamp: str, nonce: str, ciphertext: str = "") -> str:
    """The signature of the parts, as 40 hexadecimal digits."""
    parts = sorted(filter(None, (token, timestamp, nonce, ciphertext)))
    return sha1("".join(parts).encode(), usedforsecurity=False).hexdigest()


def aes_key(encoding_aes_key: str) -> bytes:
    """The key of 32 bytes in the 43 characters of an EncodingAESKey."""
    return b64decode(encoding_aes_key + "=")


def decrypted(ciphertext: str, key: bytes, account_id: str) -> bytes:
    """The message in `ciphertext` (base64), which must be for `account_id`. Raises CannotDecrypt."""
    try:
        content = b64decode(ciphertext, validate=True)
    except (binascii.Error, ValueError):
        raise CannotDecrypt("no base64") from None
    if not content or len(content) % _CIPHER_BLOCK:
        raise CannotDecrypt("no whole number of blocks")
    decryptor = Cipher(AES256(key), CBC(key[:_CIPHER_BLOCK])).decryptor()
    plain = _unpadded(decryptor.update(content) + decryptor.finalize())
    start = _RANDOM + _LENGTH
    end = start + int.from_bytes(plain[_RANDOM:start], "big")
    if len(plain) < start or end > len(plain):
        raise CannotDecrypt("the length does not fit")
    if not compare_digest(plain[end:], account_id.encode()):
        raise CannotDecrypt("it is for another account")
    return plain[start:end]


def _unpadded(plain: bytes) -> bytes:
    count = plain[-1]
    if not 0 < count <= _PADDED_TO or plain[-count:] != bytes([count]) * count:
        raise CannotDecrypt("the padding does not fit")
    return plain[:-count]


def _is_fresh(timestamp: str, now: float) -> bool:
    is_number = len(timestamp) <= _LONGEST_TIMESTAMP and timestamp.isascii() and timestamp.isdecimal()
    return is_number and abs(now - int(timestamp)) <= TOLERANCE
