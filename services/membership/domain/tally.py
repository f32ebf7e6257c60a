"""The sums of a points account, and the identity they obey after every event."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """What ever happened to the points of an account, added up by kind; some came from other accounts or went there."""

    granted: int = 0
    burned: int = 0
    restored: int = 0
    expired: int = 0
    reversed_from_lots: int = 0
    to_debt: int = 0
    debt_offsets: int = 0
    received: int = 0
    handed_over: int = 0
    debt_received: int = 0
    debt_handed_over: int = 0
    forfeited: int = 0
    debt_forgiven: int = 0

    @property
    def remaining(self) -> int:
        """What all lots together must still hold."""
        gained = self.granted + self.restored + self.received
        gone = (
            self.burned + self.expired + self.reversed_from_lots + self.debt_offsets + self.handed_over + self.forfeited
        )
        return gained - gone

    @property
    def debt(self) -> int:
        """What must still be owed."""
        return self.to_debt + self.debt_received - self.debt_offsets - self.debt_handed_over - self.debt_forgiven

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.granted + other.granted,
            self.burned + other.burned,
            self.restored + other.restored,
            self.expired + other.expired,
            self.reversed_from_lots + other.reversed_from_lots,
            self.to_debt + other.to_debt,
            self.debt_offsets + other.debt_offsets,
            self.received + other.received,
            self.handed_over + other.handed_over,
            self.debt_received + other.debt_received,
            self.debt_handed_over + other.debt_handed_over,
            self.forfeited + other.forfeited,
            self.debt_forgiven + other.debt_forgiven,
        )
