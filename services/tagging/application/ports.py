"""What commands need of the tables that change with every fact; made real in `read_models/audiences.py`.

Everything here happens in the transaction of the unit of work given, for its tenant.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple, Protocol
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from services.tagging.application.analysis_ports import Analyses
from services.tagging.application.layer_ports import Layers
from services.tagging.domain.conditions import Universe
from services.tagging.domain.conditions.vocabulary import Vocabulary
from services.tagging.domain.memberships import MembershipCause
from services.tagging.domain.refresh import Refresh
from services.tagging.domain.rfm import RfmRow
from services.tagging.domain.segments import Definition, Segment
from services.tagging.domain.sessions import Visit
from services.tagging.domain.value.valuation import ValueRow


class Customer(NamedTuple):
    """A canonical customer."""

    id: UUID
    ordinal: int
    assignment_key: str


class Change(NamedTuple):
    """Ordinals that come into a set and go out of it."""

    add: BitMap
    remove: BitMap


class RuleState(NamedTuple):
    """Where a customer stands with a rule tag; what nobody has kept is `NO_STATE`."""

    assigned: bool
    first_at: datetime | None
    next_change: datetime | None


NO_STATE = RuleState(assigned=False, first_at=None, next_change=None)


class Audiences(Layers, Analyses, Protocol):
    """Customers, what is known of them, and the sets they are in."""

    def lock(self, work: UnitOfWork) -> None:
        """Be the only one to change this tenant's sets until the transaction ends; before reading any of them."""
        ...

    def customers(self, work: UnitOfWork, ids: Iterable[UUID]) -> dict[UUID, Customer]:
        """The customer behind each of `ids` that is known of: a merged one stands for its survivor."""
        ...

    def erased(self, work: UnitOfWork, ids: Iterable[UUID]) -> set[UUID]:
        """Those of `ids` that were somebody who is erased."""
        ...

    def nodes(self, work: UnitOfWork, customer: UUID) -> list[UUID]:
        """The nodes that are this customer now, its own among them."""
        ...

    def nodes_of(self, work: UnitOfWork, customers: Iterable[UUID]) -> dict[UUID, list[UUID]]:
        """The nodes of each of these customers; none of one that is part of another."""
        ...

    def stores(self, work: UnitOfWork, customers: Iterable[UUID]) -> dict[UUID, UUID]:
        """Where the guide of each of these customers works, if it has one who works somewhere."""
        ...

    def agreed(self, work: UnitOfWork, customers: Iterable[UUID]) -> set[UUID]:
        """Those of these customers who agreed to sensitive inference."""
        ...

    def visits(self, work: UnitOfWork, customers: Iterable[UUID]) -> dict[UUID, list[Visit]]: ...

    def customers_with_visits(self, work: UnitOfWork, after: int, limit: int) -> list[Customer]:
        """Up to `limit` of them with ordinals above `after`, by ordinal."""
        ...

    def rule_states(self, work: UnitOfWork, rule: str, customers: Iterable[UUID]) -> dict[UUID, RuleState]:
        """Those that are not `NO_STATE`."""
        ...

    def keep_rule_states(self, work: UnitOfWork, rule: str, states: Mapping[UUID, RuleState]) -> None: ...

    def retag(self, work: UnitOfWork, tags: Mapping[str, Change], others: BitMap) -> None:
        """Change who has which tag, and with that the live segments; `others` are customers who changed otherwise."""
        ...

    def vocabulary(self, work: UnitOfWork) -> Vocabulary:
        """The words that conditions of the tenant may use."""
        ...

    def follow_due(self, work: UnitOfWork) -> None:
        """Look at customers for whom the time has come at which a segment changes."""
        ...

    def recount(self, work: UnitOfWork) -> None:
        """Find the members of all live segments anew."""
        ...

    def keep_settings(self, work: UnitOfWork, time_zone: str, currency: str) -> None:
        """Keep what days and amounts are counted by."""
        ...

    def look_at(self, work: UnitOfWork, suspects: Mapping[UUID, BitMap], cause: MembershipCause) -> int:
        """Decide anew whether some customers are in each of these segments; how many came or went of their own, summed up.

        Whoever is due to be looked at anyway is not one of these.
        """
        ...

    def paced(self, work: UnitOfWork) -> dict[UUID, Refresh]:
        """The segments that are found anew by the clock."""
        ...

    def depth(self, work: UnitOfWork, segment: UUID) -> int:
        """How many segments lie below one, each made of the next."""
        ...

    def used_by(self, work: UnitOfWork, segment: UUID) -> list[UUID]:
        """The live segments that are made of a segment."""
        ...

    def keep_segment(self, work: UnitOfWork, id: UUID, segment: Segment) -> None:
        """List a segment as it is defined now and find its members."""
        ...

    def listed(self, work: UnitOfWork, segment: UUID, customers: Iterable[UUID]) -> dict[UUID, list[UUID]]:
        """The nodes of each customer that are on the list of a static segment."""
        ...

    def keep_listed(
        self, work: UnitOfWork, segment: UUID, added: Sequence[Customer], removed: Sequence[tuple[UUID, Customer]]
    ) -> None:
        """Put customers on the list of a static segment, and take nodes with their customers from it."""
        ...

    def size(self, work: UnitOfWork, segment: UUID) -> int:
        """Customers in a segment now."""
        ...

    def count(self, work: UnitOfWork, definition: Definition, universe: Universe) -> int:
        """Customers for whom a definition holds now. Raises what it names and is not found."""
        ...

    def freeze(self, work: UnitOfWork, segment: UUID, snapshot: UUID) -> tuple[int, str]:
        """Keep the members of a segment now under `snapshot`; how many, and SHA-256 (hex) of their bitmap."""
        ...

    def note_holders(self, work: UnitOfWork, given: Iterable[tuple[str, UUID]]) -> None:
        """Note tags with the nodes that were given them by hand."""
        ...

    def holders(self, work: UnitOfWork, tag: str, after: UUID | None, limit: int) -> list[UUID]:
        """Up to `limit` nodes behind `after` that were ever given a tag, in order."""
        ...

    def tag_users(self, work: UnitOfWork, tag: str) -> set[str]:
        """The names of the segments that speak of a tag."""
        ...

    def kept(self, work: UnitOfWork, segments: Iterable[UUID]) -> dict[UUID, BitMap]:
        """The members of each of these segments now."""
        ...

    def told(self, work: UnitOfWork, tag: str) -> dict[str, BitMap]:
        """By value, the customers of whom a rule or fact says that they have a tag."""
        ...

    def members(self, work: UnitOfWork, snapshot: UUID) -> BitMap:
        """Who was in a segment when the snapshot was taken."""
        ...

    def by_ordinal(self, work: UnitOfWork, ordinals: Iterable[int]) -> list[tuple[int, UUID, bool]]:
        """Ordinal, node and whether it is erased, of each of these, in their order."""
        ...

    def last_run(self, work: UnitOfWork, model: str) -> "KeptRun | None":
        """Of the runs of a model as of its last date, the last."""
        ...

    def keep_run(self, work: UnitOfWork, run: "RunRows") -> None: ...

    def keep_value_run(self, work: UnitOfWork, run: "ValueRows") -> None: ...


class RunRows(NamedTuple):
    """The rows of a model run; `customer` in them is the ordinal."""

    run: UUID
    model: str
    version: int
    as_of: date
    rows: Sequence[RfmRow]


class KeptRun(NamedTuple):
    """A run that is kept, by which version of its model, and as of when."""

    run: UUID
    version: int
    as_of: date


class ValueRows(NamedTuple):
    """The rows of a run of a model of value; `customer` in them is the ordinal."""

    run: UUID
    model: str
    version: int
    as_of: date
    rows: Sequence[ValueRow]
