"""IdentityStatistics: how many customers of which kind were created and merged, and how many there are now."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from chassis.aggregate import Event
from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.customer import Customer, CustomerState
from services.identity.read_models.concerned import concerning


@dataclass(frozen=True, slots=True)
class IdentityStatistics:
    """The counts of one tenant."""

    anonymous_created: int = 0
    known_created: int = 0
    became_known: int = 0
    merges: int = 0
    anonymous_customers: int = 0
    known_customers: int = 0
    shared_identifiers: int = 0
    shared_devices: int = 0
    reassignments: int = 0
    conflicts: int = 0
    unmerges: int = 0


_COUNTERS: Final = tuple(asdict(IdentityStatistics()))

tables: Final = sa.MetaData()

statistics = sa.Table(
    "identity_statistics",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    *(sa.Column(name, sa.BigInteger, nullable=False) for name in _COUNTERS),
)


_EVENTS: Final = frozenset(
    {
        Customer.Registered,
        Customer.BecameKnown,
        Customer.MergedInto,
        Customer.Restored,
        Customer.ErasureBegun,
        Customer.ConflictDetected,
        IdentifierClaim.Reassigned,
        IdentifierClaim.MarkedShared,
    }
)


class IdentityStatisticsProjection:
    """One row per tenant."""

    name = "identity_statistics"
    version = 3
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        items = concerning(items, _EVENTS)
        counted: dict[str, Counter[str]] = {}
        for it in items:
            for name, step in _steps(it.event):
                counted.setdefault(it.tenant, Counter())[name] += step
        if counted:
            found = [{"tenant": tenant} | {it: counter[it] for it in _COUNTERS} for tenant, counter in counted.items()]
            rows.execute(_ADD, found)


_added = insert(statistics)
_ADD: Final = _added.on_conflict_do_update(
    index_elements=[statistics.c.tenant],
    set_={it: statistics.c[it] + _added.excluded[it] for it in _COUNTERS},
)


def identity_statistics(rows: sa.Connection) -> IdentityStatistics:
    """The counts of the tenant of the connection."""
    found = rows.execute(sa.select(*(statistics.c[it] for it in _COUNTERS))).first()
    return IdentityStatistics(*found) if found else IdentityStatistics()


def _steps(event: Event) -> Iterator[tuple[str, int]]:
    match event:
        case Customer.Registered(state=CustomerState.ANONYMOUS):
            yield from (("anonymous_created", 1), ("anonymous_customers", 1))
        case Customer.Registered():
            yield from (("known_created", 1), ("known_customers", 1))
        case Customer.BecameKnown():
            yield from (("became_known", 1), ("anonymous_customers", -1), ("known_customers", 1))
        case Customer.MergedInto(former_state=former):
            yield "merges", 1
            yield ("known_customers" if former is CustomerState.KNOWN else "anonymous_customers"), -1
        case Customer.Restored(state=state):
            yield "unmerges", 1
            yield ("known_customers" if state is CustomerState.KNOWN else "anonymous_customers"), 1
        case Customer.ErasureBegun(former_state=former):
            yield ("known_customers" if former is CustomerState.KNOWN else "anonymous_customers"), -1
        case Customer.ConflictDetected():
            yield "conflicts", 1
        case _:
            yield from _steps_of_claim(event)


def _steps_of_claim(event: Event) -> Iterator[tuple[str, int]]:
    match event:
        case IdentifierClaim.Reassigned():
            yield "reassignments", 1
        case IdentifierClaim.MarkedShared(namespace=namespace):
            yield "shared_identifiers", 1
            if namespace == "device_id":
                yield "shared_devices", 1
