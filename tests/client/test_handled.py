"""An event takes effect once, whatever comes twice, dies in the middle or was restored."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scrm_client.handled import Address, Handled, is_new


@dataclass(frozen=True)
class Told:
    address: Address
    partition: int = 1
    service: str = "identity"
    bases: tuple[int, ...] = (0,)


def at(position: int, part: int = 0, epoch: int = 1, bases: tuple[int, ...] = (0,)) -> Told:
    return Told(Address(epoch, position, part), bases=bases)


@pytest.fixture
def handled(tmp_path: Path) -> Iterator[Handled]:
    found = Handled(tmp_path / "handled.db", "CREATE TABLE effects (position INTEGER)")
    yield found
    found.close()


def handle(handled: Handled, *events: Told) -> list[int]:
    """The positions of those that took effect."""
    taken = []
    for event in events:
        with handled.once(event) as transaction:
            if transaction:
                transaction.execute("INSERT INTO effects VALUES (?)", (event.address.position,))
                taken.append(event.address.position)
    return taken


def test_what_comes_twice_takes_effect_once(handled: Handled) -> None:
    assert handle(handled, at(1), at(2), at(1), at(2), at(3), at(2)) == [1, 2, 3]


def test_parts_of_one_position_are_events_of_their_own(handled: Handled) -> None:
    assert handle(handled, at(1), at(1, 1), at(1, 1), at(1, 2)) == [1, 1, 1]


def test_partitions_and_services_have_marks_of_their_own(handled: Handled) -> None:
    assert handle(handled, at(5), Told(Address(1, 2), partition=2), Told(Address(1, 1), service="tracking")) == [
        5,
        2,
        1,
    ]


def test_an_effect_that_fails_is_not_taken_for_done(handled: Handled) -> None:
    def fail() -> None:
        with handled.once(at(1)) as transaction:
            assert transaction
            transaction.execute("INSERT INTO effects VALUES (1)")
            raise TimeoutError

    with pytest.raises(TimeoutError):
        fail()

    assert handle(handled, at(1)) == [1]
    with handled.once(at(2)) as transaction:
        assert transaction
        assert transaction.execute("SELECT count(*) FROM effects").fetchone() == (1,)


def test_marks_outlive_the_process(handled: Handled, tmp_path: Path) -> None:
    handle(handled, at(1), at(2))
    again = Handled(tmp_path / "handled.db")
    assert handle(again, at(2), at(3)) == [3]
    again.close()


def test_what_is_forgotten_is_new_again(handled: Handled) -> None:
    handle(handled, at(1), at(2))
    handled.forget("identity")
    assert handle(handled, at(1)) == [1]


def test_after_a_restore_only_what_is_behind_the_base_is_new() -> None:
    mark = Address(1, 10)
    restored = (0, 7)  # everything up to position 7 is as it was
    assert [it for it in range(5, 10) if is_new(at(it, epoch=2, bases=restored), mark)] == [8, 9]
    assert is_new(at(10, epoch=2, bases=restored), Address(1, 5))
    assert not is_new(at(5, epoch=2, bases=restored), Address(1, 5))
    assert not is_new(at(9, epoch=1, bases=restored), Address(2, 8))
    assert is_new(at(3, epoch=3, bases=(0, 7, 2)), mark)
