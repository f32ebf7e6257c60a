"""Whoever is due is looked at together with all others, and everybody in the order of its own instants."""

from datetime import timedelta
from random import Random
from uuid import UUID

from pyroaring import BitMap

from services.tagging.read_models.dues import Due, rounds
from tests.tagging.world import START

ONE, TWO = UUID(int=1), UUID(int=2)


def due(segment: UUID, ordinal: int, minute: int) -> Due:
    return Due(segment, ordinal, START + timedelta(minutes=minute))


def test_all_who_are_due_once_are_one_round_with_their_own_instants() -> None:
    (only,) = rounds([due(ONE, 7, 1), due(TWO, 7, 1), due(ONE, 8, 2), due(TWO, 9, 3)])
    assert only.segments == {ONE: BitMap((7, 8)), TWO: BitMap((7, 9))}
    assert [only.at(it) for it in (7, 8, 9)] == [START + timedelta(minutes=it) for it in (1, 2, 3)]
    assert rounds([]) == []


def test_a_customer_is_in_a_round_of_its_own_for_each_instant_in_their_order() -> None:
    random = Random(5)
    for _ in range(200):
        pairs = {(random.choice((ONE, TWO)), random.randrange(4)): random.randrange(5) for _ in range(8)}
        ordered = sorted((due(*key, minute) for key, minute in pairs.items()), key=lambda it: it.at)
        found = rounds(ordered)
        told = [
            Due(segment, ordinal, it.at(ordinal))
            for it in found
            for segment, ordinals in it.segments.items()
            for ordinal in ordinals
        ]
        assert sorted(told) == sorted(ordered)
        for ordinal in range(4):
            instants = [it.instants[ordinal] for it in found if ordinal in it.instants]
            assert instants == sorted(set(instants))
        assert len(found) == max(len({it.at for it in ordered if it.ordinal == one}) for one in range(4))
