"""What identity does when another service was in touch with customers."""

from collections.abc import Sequence
from typing import Final

from chassis.commands import UnitOfWork
from chassis.envelope import Incoming

EVENTS: Final = ("delivery_sent",)
"""All that is of concern here, as it stands in subjects."""


def keep_deliveries(batch: Sequence[Incoming], work: UnitOfWork) -> None:
    """Whenever campaigns sent a message, only keep that: the history of contacts is built from the inbox."""
