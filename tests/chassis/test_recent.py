"""Entries of a log that are decoded once for all who read them."""

from uuid import uuid4

import pytest
from eventsourcing.persistence import StoredEvent

from chassis.log import Recorded
from chassis.recent import Recent

SOMETHING = StoredEvent(uuid4(), 1, "a.Topic", b"{}")


class Decoding:
    """Decodes, and counts how often."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Recorded:
        self.times += 1
        return Recorded(self.times, None, None)  # type: ignore[arg-type]


def test_what_was_read_a_moment_ago_is_not_decoded_again() -> None:
    recent, decode = Recent(), Decoding()
    first = recent.entry(5, SOMETHING, decode)
    same = StoredEvent(SOMETHING.originator_id, 1, "a.Topic", bytes(bytearray(b"{}")))
    assert recent.entry(5, same, decode) is first
    assert decode.times == 1


def test_another_event_at_the_same_position_is_decoded() -> None:
    recent, decode = Recent(), Decoding()
    first = recent.entry(5, SOMETHING, decode)
    other = StoredEvent(SOMETHING.originator_id, 1, "a.Topic", b'{"a": 1}')
    assert recent.entry(5, other, decode) is not first


@pytest.mark.parametrize(
    "recent",
    [pytest.param(Recent(kept=3), id="entries"), pytest.param(Recent(kept_bytes=3 * len(SOMETHING.state)), id="bytes")],
)
def test_no_more_is_kept_than_was_said(recent: Recent) -> None:
    decode = Decoding()
    for position in range(20):
        recent.entry(position, SOMETHING, decode)
    recent.entry(19, SOMETHING, decode)
    assert decode.times == 20
    recent.entry(0, SOMETHING, decode)
    assert decode.times == 21
