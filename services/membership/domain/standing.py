"""Where somebody stands in the program: the membership in force, and what was taken back."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

NEVER = datetime.min.replace(tzinfo=UTC)


class Via(StrEnum):
    """How somebody became a member."""

    SPEND = "SPEND"
    STAFF = "STAFF"


@dataclass(frozen=True, slots=True)
class Membership:
    """A membership in force; orders paid from `earns_from` on earn points."""

    member_no: str
    via: Via
    policy_version: int
    joined_at: datetime
    earns_from: datetime


@dataclass(frozen=True, slots=True)
class Standing:
    """The membership in force, if any, and the `former` one that was taken back at `revoked_at`."""

    membership: Membership | None = None
    former: Membership | None = None
    revoked_at: datetime | None = None

    @property
    def is_decided(self) -> bool:
        """Whether this is somebody who is or was a member."""
        return self.membership is not None or self.former is not None

    def joined(self, membership: Membership) -> "Standing":
        return replace(self, membership=membership)

    def revoked(self, at: datetime) -> "Standing":
        return Standing(None, self.membership, at)

    def together_with(self, other: "Standing") -> "Standing":
        """One membership of two, the earlier; of what was taken back, the last."""
        last = max((self, other), key=lambda it: it.revoked_at or NEVER)
        return Standing(_one_of(self.membership, other.membership), last.former, last.revoked_at)


UNDECIDED: Final = Standing()


def _one_of(mine: Membership | None, other: Membership | None) -> Membership | None:
    """My number, and the terms of the membership that began earlier."""
    if mine is None or other is None:
        return mine or other
    first = min(mine, other, key=lambda it: it.joined_at)
    earns_from = min(mine.earns_from, other.earns_from)
    return replace(first, member_no=mine.member_no, earns_from=earns_from)
