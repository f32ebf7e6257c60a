"""Comparing many pairs at once: how far the traits of two customers agree, feature by feature."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import JaroWinkler
from rapidfuzz.process import cpdist

from services.identity.domain.match_model import MISSING, Feature, Levels
from services.identity.domain.traits import Traits

SIMILAR_FROM: Final = 0.9

Places = npt.NDArray[np.int64]
"""Where the customers of pairs stand in a population."""

_Truth = npt.NDArray[np.bool_]
_DATE_DIGITS: Final = 8
_MONTH_AND_DAY_SWAPPED: Final = np.array([0, 1, 2, 3, 6, 7, 4, 5])


class Population:
    """The traits of many customers as columns, of which pairs are compared by their places."""

    def __init__(self, traits: Sequence[Traits]) -> None:
        self.traits = traits
        self._names = _codes(traits, lambda it: it.name)
        self._genders = _codes(traits, lambda it: it.gender)
        self._addresses = _codes(traits, lambda it: it.address)
        self._districts = _codes(traits, lambda it: it.district)
        self._sounds = [it.sound for it in traits]
        self._devices = [it.devices for it in traits]
        self._has_device = np.array([bool(it) for it in self._devices], dtype=np.bool_)
        digits = b"".join((it.birthdate or "\0" * _DATE_DIGITS).encode() for it in traits)
        self._birthdates = np.frombuffer(digits, dtype=np.uint8).reshape(len(traits), _DATE_DIGITS)

    def compare(self, left: Places, right: Places) -> Levels:
        """The levels of each pair of `left` and `right`."""
        found = np.empty((len(left), len(Feature)), dtype=np.int8)
        columns = (
            self._by_name(left, right),
            self._by_birthdate(left, right),
            self._by_address(left, right),
            self._by_device(left, right),
            _equal(self._genders[left], self._genders[right]),
        )
        for place, column in enumerate(columns):
            found[:, place] = column
        return found

    def _by_name(self, left: Places, right: Places) -> npt.NDArray[np.int8]:
        one, other = self._names[left], self._names[right]
        level = np.full(len(left), 2, dtype=np.int8)
        level[one == other] = 0
        missing = (one == MISSING) | (other == MISSING)
        level[missing] = MISSING
        unsettled = np.flatnonzero(level == 2)
        if len(unsettled):
            sounds = self._sounds
            score = cpdist(
                [sounds[it] for it in left[unsettled]],
                [sounds[it] for it in right[unsettled]],
                scorer=JaroWinkler.similarity,
                score_cutoff=SIMILAR_FROM,
                dtype=np.float32,
            )
            level[unsettled[score > 0]] = 1
        return level

    def _by_birthdate(self, left: Places, right: Places) -> npt.NDArray[np.int8]:
        one, other = self._birthdates[left], self._birthdates[right]
        differs = one != other
        count = differs.sum(axis=1)
        level = np.full(len(left), 2, dtype=np.int8)
        level[(count == 1) | _neighbours_swapped(one, other, differs, count)] = 1
        level[(one[:, _MONTH_AND_DAY_SWAPPED] == other).all(axis=1)] = 1
        level[count == 0] = 0
        level[(one[:, 0] == 0) | (other[:, 0] == 0)] = MISSING
        return level

    def _by_address(self, left: Places, right: Places) -> npt.NDArray[np.int8]:
        """The same address; else the same district, where both are known; an address alone can still differ."""
        address = _equal(self._addresses[left], self._addresses[right])
        district = _equal(self._districts[left], self._districts[right])
        level = np.where(district == 0, 1, np.where((address == 1) | (district == 1), 2, MISSING))
        found: npt.NDArray[np.int8] = np.where(address == 0, 0, level).astype(np.int8)
        return found

    def _by_device(self, left: Places, right: Places) -> npt.NDArray[np.int8]:
        level = np.full(len(left), MISSING, dtype=np.int8)
        devices = self._devices
        for place in np.flatnonzero(self._has_device[left] & self._has_device[right]):
            level[place] = devices[left[place]].isdisjoint(devices[right[place]])
        return level


def _codes(traits: Sequence[Traits], of: Callable[[Traits], str]) -> npt.NDArray[np.int64]:
    """Equal values as equal numbers; MISSING for nothing."""
    numbers: dict[str, int] = {"": MISSING}
    return np.array([numbers.setdefault(of(it), len(numbers)) for it in traits], dtype=np.int64)


def _equal(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
    """0 where equal, 1 where not, MISSING where either is."""
    level: npt.NDArray[np.int8] = (one != other).astype(np.int8)
    level[(one == MISSING) | (other == MISSING)] = MISSING
    return level


def _neighbours_swapped(
    one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], differs: _Truth, count: npt.NDArray[np.int64]
) -> _Truth:
    """Whether the two dates differ in two neighbouring digits which stand the other way round."""
    crossed = (one[:, :-1] == other[:, 1:]) & (one[:, 1:] == other[:, :-1]) & differs[:, :-1] & differs[:, 1:]
    swapped: _Truth = crossed.any(axis=1) & (count == 2)
    return swapped
