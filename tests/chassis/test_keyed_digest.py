"""Digests under a key are those of the standard library."""

import hmac

import pytest

from chassis.keyed_digest import KeyedDigest


@pytest.mark.parametrize("length", [0, 1, 32, 64, 65, 200])
def test_a_digest_is_the_hmac_of_the_content_whatever_the_length_of_the_key(length: int) -> None:
    key = bytes(range(length))
    digest = KeyedDigest(key)
    for content in (b"", b"one", bytes(1_000)):
        assert digest.of(content) == hmac.digest(key, content, "sha256")
