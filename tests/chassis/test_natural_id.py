"""Ids made of names: the same for ever, and those that the standard library makes."""

from uuid import UUID, uuid5

from chassis.aggregate import natural_id

_SPACE = UUID("6f1c8d0e-4a53-5d1b-9d4c-2f0b6f8f6a11")


def test_a_natural_id_is_a_uuid_of_version_five() -> None:
    for number in range(500):
        parts = ("acme", "order", str(number), UUID(int=number), number)
        expected = uuid5(_SPACE, "\x1f".join(map(str, parts)))
        found = natural_id("acme", "order", str(number), UUID(int=number), number)
        assert (found, found.version, found.variant) == (expected, 5, expected.variant)
