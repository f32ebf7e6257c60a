"""What identity does for its profiles when another service reports something."""

from collections.abc import Mapping, Sequence
from typing import Final

from chassis.commands import UnitOfWork
from chassis.envelope import Incoming, event_name

CONSUMER: Final = "identity_profiles"

SERVICE_OF: Final[Mapping[str, str]] = {
    "tracking_behaviours": "tracking",
    "tracking": "tracking",
    "tagging": "tagging",
    "membership": "membership",
    "campaigns": "campaigns",
}
"""The streams that are read, and who publishes each."""


def keep_what_is_told(batch: Sequence[Incoming], work: UnitOfWork) -> None:
    """Whenever something is told about a customer, only keep it: profiles and the messages sent are built from the inbox."""


def events_of(messages: Sequence[str]) -> tuple[str, ...]:
    """The events behind the full names of messages, as they stand in subjects."""
    return tuple(event_name(it.rpartition(".")[2]) for it in messages)
