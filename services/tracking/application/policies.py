"""What tracking does when another service reports something."""

from collections.abc import Sequence
from typing import Final

from chassis.commands import UnitOfWork
from chassis.envelope import Incoming

IDENTITY_EVENTS: Final = ("customer_created", "customers_merged", "customer_unmerged", "customer_became_known")


def keep_customers(batch: Sequence[Incoming], work: UnitOfWork) -> None:
    """Whenever identity reports who is whom, only keep it: the read models that need it are built from the inbox."""
