"""The cryptography of WeChat, against examples that were not made here.

The first two are those the platform publishes with its own libraries (WXBizMsgCrypt, Sample). The third is the command line of OpenSSL:
`openssl enc -aes-256-cbc -nopad -K <key> -iv <first half of the key>` of the plaintext, and `openssl dgst -sha1` of the sorted parts.
"""

import base64
import os

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from services.tracking.domain.wechat_crypto import (
    TOLERANCE,
    CannotDecrypt,
    NotFromPlatform,
    Proof,
    Secrets,
    aes_key,
    decrypted,
    signature,
)

KEY = aes_key("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C")
CORP = "wx5823bf96d3bd56c7"
TOKEN = "QDG6eK"
ECHO = "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ=="
MESSAGE = (
    "RypEvHKD8QQKFhvQ6QleEB4J58tiPdvo+rtK1I9qca6aM/wvqnLSV5zEPeusUiX5L5X/0lWfrf0QADHHhGd3QczcdCUpj911L3vg3W/sYYvuJTs3TUUkSUXxaccAS0qh"
    "xchrRYt66wiSpGLYL42aM6A8dTT+6k4aSknmPj48kzJs8qLjvd4Xgpue06DOdnLxAUHzM6+kDZ+HMZfJYuR+LtwGc2hgf5gsijff0ekUNXZiqATP7PF5mZxZ3Izoun1s"
    "4zG4LUMnvw2r+KqCKIw+3IQH03v+BCA9nMELNqbSf6tiWSrXJB3LAVGUcallcrw8V2t9EL4EhzJWrQUax5wLVMNS0+rUPA3k22Ncx4XXZS9o0MBH27Bo6BpNelZpS+/u"
    "h9KsNlY6bHCmJU9p8g7m3fVKn28H3KDYA5Pl/T8Z1ptDAVe0lXdQ2YoyyH2uyPIGHBZZIs2pDBS8R07+qN+E7Q=="
)
BY_OPENSSL = "P9TP8OO8ZpJE35Ha/87+5BE0ORWGJQCEDzqKI1/nFlOwurrB580LiWZHHD3olYNI4dGNmKQXIO4338J3lWOMgw=="
SIGNED_BY_OPENSSL = "b1f03266c84a6b30fa047ad045ffeb4fcbd8352c"


def test_what_the_platform_publishes_as_examples_is_understood() -> None:
    assert signature(TOKEN, "1409659589", "263014780", ECHO) == "5c45ff5e21c57e6ad56bac8758b79b1d9ac89fd3"
    assert decrypted(ECHO, KEY, CORP) == b"1616140317555161061"
    assert signature(TOKEN, "1409659813", "1372623149", MESSAGE) == "477715d11cdb4164915debcba66cb864d751f3e6"
    message = decrypted(MESSAGE, KEY, CORP)
    assert message.startswith(b"<xml>")
    assert b"<Content><![CDATA[hello]]></Content>" in message


def test_what_openssl_encrypts_and_signs_is_understood() -> None:
    assert decrypted(BY_OPENSSL, KEY, CORP) == "<xml>你好</xml>".encode()
    assert signature(TOKEN, "1777636800", "7", BY_OPENSSL) == SIGNED_BY_OPENSSL


def test_a_signature_is_of_this_token_these_parts_and_this_moment() -> None:
    good = Proof(signature(TOKEN, "1000000", "n", "c"), "1000000", "n")
    for moment in (1_000_000 - TOLERANCE, 1_000_000, 1_000_000 + TOLERANCE):
        good.check(TOKEN, moment, "c")
    wrong: list[tuple[Proof, str, float, str]] = [
        (good, "other", 1_000_000, "c"),
        (good, TOKEN, 1_000_000, "d"),
        (good, TOKEN, 1_000_000, ""),
        (Proof(good.signature, "1000001", "n"), TOKEN, 1_000_000, "c"),
        (Proof(good.signature, "1000000", "m"), TOKEN, 1_000_000, "c"),
        (Proof(good.signature.upper(), "1000000", "n"), TOKEN, 1_000_000, "c"),
        (Proof("", "1000000", "n"), TOKEN, 1_000_000, "c"),
        (Proof("é" * 40, "1000000", "n"), TOKEN, 1_000_000, "c"),
        (good, TOKEN, 1_000_000 - TOLERANCE - 1, "c"),
        (good, TOKEN, 1_000_000 + TOLERANCE + 1, "c"),
    ]
    no_times = ("", "-1000000", "1e6", "１００００００", "9" * 400, "1000000.0")
    wrong += [(Proof(signature(TOKEN, at, "n", "c"), at, "n"), TOKEN, 1_000_000, "c") for at in no_times]
    for proof, token, now, ciphertext in wrong:
        with pytest.raises(NotFromPlatform):
            proof.check(token, now, ciphertext)


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"\0" * 31 + b"\x01",  # the length is that of nothing, and nobody is meant
        b"r" * 16 + b"\xff\xff\xff\xff" + b"x" * 11 + b"\x01",
        b"r" * 16 + b"\0\0\0\x01" + b"x" + b"wx5823bf96d3bd56c8" + b"\x19" * 25,
        b"r" * 32,
        b"r" * 31 + b"\0",
        b"\x20" * 32,
        b"r" * 14 + b"\x02\x02",
    ],
)
def test_what_is_not_made_for_the_account_is_refused(plain: bytes) -> None:
    encryptor = Cipher(algorithms.AES(KEY), modes.CBC(KEY[:16])).encryptor()
    hidden = base64.b64encode(encryptor.update(plain) + encryptor.finalize()).decode()
    with pytest.raises(CannotDecrypt):
        decrypted(hidden, KEY, CORP)


def test_thousands_of_damaged_ciphertexts_are_refused_in_one_way() -> None:
    content = base64.b64decode(MESSAGE)
    for n in range(3000):
        damaged = bytearray(content)
        damaged[-1 - n % 64] ^= 1 + n % 255  # the last blocks, with the padding and the id of the account
        with pytest.raises(CannotDecrypt):
            decrypted(base64.b64encode(damaged).decode(), KEY, CORP)
    for n in range(500):
        with pytest.raises(CannotDecrypt):
            decrypted(base64.b64encode(os.urandom(n)).decode() + ("!" if n % 3 == 0 else ""), KEY, CORP)


def test_secrets_do_not_show() -> None:
    assert TOKEN not in repr(Secrets(TOKEN, KEY))
    assert repr(KEY) not in repr(Secrets(TOKEN, KEY))
