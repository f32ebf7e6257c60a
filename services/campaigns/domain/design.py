"""The design of a broadcast: who gets which text, by ranges of buckets, and for how long it counts."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from chassis.errors import FieldRequired, FieldTooLong, ValueOutOfRange
from services.campaigns.domain import templates
from services.campaigns.domain.buckets import BUCKETS
from services.campaigns.domain.errors import ArmKeyNotUsable, RangeOverlap

HOLDOUT = "holdout"
REMAINDER = "remainder"
EVERYONE = "everyone"
"""The only arm of a broadcast without experiment."""

GRACE = timedelta(days=7)
"""Facts that arrive this long after the last window count; then the result is final."""

DEFAULT_WINDOW = timedelta(days=7)
LONGEST_WINDOW = timedelta(days=365)
LONGEST_TEXT = 4096
_RESERVED = frozenset({HOLDOUT, REMAINDER, EVERYONE})


@dataclass(frozen=True, slots=True)
class BucketRange:
    """The buckets `start` ≤ b < `end`."""

    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Arm:
    """A variant of the message, the buckets whose customers get it, and by which channel ("": one without a name)."""

    key: str
    range: BucketRange
    text: str
    channel: str = ""


@dataclass(frozen=True, slots=True)
class Design:
    """Arms, hold-out and remainder as ranges of buckets, and the conversion window.

    `window_seconds` is the window of the decision; conversions are observed for
    `observation_seconds`, at least as long, so that an effect can be followed further.
    """

    arms: tuple[Arm, ...]
    holdout: BucketRange | None = None
    remainder: BucketRange | None = None
    window_seconds: int = int(DEFAULT_WINDOW.total_seconds())
    observation_seconds: int = int(DEFAULT_WINDOW.total_seconds())

    @classmethod
    def plain(cls, text: str, channel: str = "") -> "Design":
        """Everybody gets `text`."""
        design = cls(arms=(Arm(EVERYONE, BucketRange(0, BUCKETS), text, channel),))
        _check_text(text, "message.text")
        return design

    @property
    def window(self) -> timedelta:
        return timedelta(seconds=self.window_seconds)

    @property
    def observation(self) -> timedelta:
        return timedelta(seconds=self.observation_seconds)

    @property
    def ranges(self) -> dict[str, BucketRange]:
        """Every variant with its buckets: the hold-out, the arms in order, the remainder."""
        named = [(HOLDOUT, self.holdout), *((arm.key, arm.range) for arm in self.arms)]
        named.append((REMAINDER, self.remainder))
        return {variant: it for variant, it in named if it is not None}

    def arm(self, key: str) -> Arm | None:
        return next((arm for arm in self.arms if arm.key == key), None)

    def variants(self, buckets: Iterable[int]) -> list[str | None]:
        """The variant each bucket falls into; None for a bucket outside all ranges."""
        table: list[str | None] = [None] * BUCKETS
        for variant, it in self.ranges.items():
            table[it.start : it.end] = [variant] * it.size
        return [table[bucket] for bucket in buckets]

    def check(self) -> None:
        """Refuse a design that cannot run; the first fault is named by its field."""
        if not 2 <= len(self.arms) <= 8:
            raise ValueOutOfRange("2 to 8 arms", field="experiment.arms")
        keys = [arm.key.lower() for arm in self.arms]
        for i, arm in enumerate(self.arms):
            if keys[i] in _RESERVED or keys[i] in keys[:i]:
                raise ArmKeyNotUsable(field=f"experiment.arms[{i}].key")
            _check_text(arm.text, f"experiment.arms[{i}].text")
        _check_ranges(self.ranges)
        _check_windows(self.window, self.observation)


def _check_ranges(ranges: dict[str, BucketRange]) -> None:
    for variant, it in ranges.items():
        if not 0 <= it.start < it.end <= BUCKETS:
            raise ValueOutOfRange(f"buckets of {variant}", field="experiment", variant=variant)
    ordered: Sequence[tuple[str, BucketRange]] = sorted(ranges.items(), key=lambda it: it[1].start)
    for (left, before), (right, after) in itertools.pairwise(ordered):
        if after.start < before.end:
            raise RangeOverlap(field="experiment", first=left, second=right)


def _check_windows(window: timedelta, observation: timedelta) -> None:
    if not timedelta(0) < window <= LONGEST_WINDOW:
        raise ValueOutOfRange(field="experiment.conversion_window")
    if not window <= observation <= LONGEST_WINDOW:
        raise ValueOutOfRange(field="experiment.observation_window")


def _check_text(text: str, field: str) -> None:
    if not text.strip():
        raise FieldRequired(field=field)
    if len(text) > LONGEST_TEXT:
        raise FieldTooLong(field=field)
    templates.check(text, field=field)
