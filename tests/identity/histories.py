"""Random histories of calls, links, merges, their undoing, and erasures, against a plain union-find over what was recorded.

The oracle knows nothing of aggregates: it reads which merges stand and who got which identifier last, and says from that who is
whom. Whatever was decided, by whichever replica, the customers have to be what the record says they are.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final
from uuid import UUID

from chassis.aggregate import Event
from chassis.errors import DomainError
from chassis.event_store import MemoryEventStore
from chassis.log import Recorded
from services.identity.application.merge_commands import Side
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.customer import Belongings, Customer, CustomerState, Separation, UnlinkReason
from services.identity.domain.identifiers import IdentifierKey
from services.identity.domain.merging import Merge
from tests.identity.brand import Brand, E, Given, anonymous, device, email, member, phone, unionid

STEPS: Final = 14


@dataclass(slots=True)
class Oracle:
    """What the record says."""

    customers: set[UUID] = field(default_factory=set)
    survivor: dict[UUID, UUID] = field(default_factory=dict)
    node_of: dict[IdentifierKey, UUID] = field(default_factory=dict)
    keys: dict[UUID, IdentifierKey] = field(default_factory=dict)
    useless: set[IdentifierKey] = field(default_factory=set)
    apart: set[frozenset[UUID]] = field(default_factory=set)
    erased: set[UUID] = field(default_factory=set)
    _merges: dict[UUID, tuple[UUID, UUID]] = field(default_factory=dict)

    def read(self, event: Event) -> None:
        self._read_customer(event)
        self._read_identifier(event)

    def _read_customer(self, event: Event) -> None:
        match event:
            case Customer.Registered(originator_id=id):
                self.customers.add(id)
            case Merge.Made(originator_id=id, survivor=survivor, loser=loser):
                self._merges[id] = survivor, loser
                assert loser not in self.survivor, "nobody is a part of two others"
                self.survivor[loser] = survivor
            case Merge.Undone(originator_id=id):
                del self.survivor[self._merges.pop(id)[1]]
            case Customer.Erased(node_ids=node_ids):
                self.erased.update(node_ids)
            case Customer.KeptApart(separation=it):
                self.apart.add(frozenset((it.node, it.other)))
            case Customer.ReunionAllowed(separations=separations):
                self.apart -= {frozenset((it.node, it.other)) for it in separations}

    def _read_identifier(self, event: Event) -> None:
        match event:
            case IdentifierClaim.Claimed(originator_id=id) as claimed:
                self.keys[id] = claimed.namespace, claimed.scope, claimed.value_hmac
                self.node_of[self.keys[id]] = claimed.node
            case (
                IdentifierClaim.Reclaimed(originator_id=id, node=node)
                | IdentifierClaim.Reassigned(originator_id=id, node=node)
            ):
                self.node_of[self.keys[id]] = node
            case IdentifierClaim.Released(originator_id=id):
                del self.node_of[self.keys[id]]
            case IdentifierClaim.MarkedShared(originator_id=id) | IdentifierClaim.Blocked(originator_id=id):
                self.useless.add(self.keys[id])
            case Customer.IdentifiersUnlinked(identifiers=identifiers, reason=reason):
                if reason is not UnlinkReason.REASSIGNED:
                    for it in identifiers:
                        if it.key in self.useless:  # which stays what it is, with whomever
                            del self.node_of[it.key]

    def root(self, node: UUID) -> UUID:
        while node in self.survivor:
            node = self.survivor[node]
        return node


def compare(brand: Brand) -> None:
    """The customers of the brand are those of the record."""
    oracle = Oracle()
    for it in brand.recorded():
        oracle.read(it.event)
    nodes: dict[UUID, set[UUID]] = {}
    for node in oracle.customers:
        nodes.setdefault(oracle.root(node), set()).add(node)
    identifiers: dict[UUID, dict[IdentifierKey, UUID]] = {it: {} for it in nodes}
    for key, node in oracle.node_of.items():
        identifiers[oracle.root(node)][key] = node
    assert oracle.erased.isdisjoint(oracle.node_of.values()), (
        "nobody is found by what the erased had, who returns is new"
    )
    found = brand.customers()
    assert {it.id for it in found if it.state is CustomerState.ERASED} == {oracle.root(it) for it in oracle.erased}
    assert {it.id: set(it.nodes) for it in found} == nodes
    assert {it.id: {key: one.node for key, one in it.identifiers.items()} for it in found} == identifiers
    for pair in oracle.apart:
        assert len({oracle.root(it) for it in pair}) == 2, "those kept apart are two"
    known = {Separation(*pair) for it in oracle.apart for pair in (tuple(it), tuple(reversed(tuple(it))))}
    assert {separation for it in found for separation in it.apart} == known


class History:
    """Steps at random, out of so few identifiers that people meet all the time."""

    def __init__(self, brand: Brand, seed: int) -> None:
        self._brand = brand
        self._random = Random(seed)
        self._read: list[Recorded] = []
        self._steps: list[Callable[[], Any]] = [
            *[self._resolve] * 6,
            *[self._merge] * 2,
            *[self._unmerge] * 3,
            self._link,
            self._unlink,
            self._keep_apart,
            self._allow_reunion,
            self._erase,
        ]

    def run(self, steps: int) -> None:
        for _ in range(steps):
            try:
                self._random.choice(self._steps)()
            except DomainError:
                continue

    def _resolve(self) -> None:
        given = [self._given() for _ in range(self._random.randint(1, 4))]
        nodes = self._nodes()
        about = self._random.choice(nodes) if nodes and self._random.random() < 0.1 else None
        self._brand.resolve(*given, authenticated=self._random.random() < 0.5, customer_id=about)

    def _merge(self) -> None:
        survivor, loser = self._two()
        self._brand.merge(survivor, loser, by_steward=self._random.random() < 0.5)

    def _unmerge(self) -> None:
        made = self._events(Merge.Made)
        if not made:
            return
        merge = self._random.choice(made).originator_id
        sides = [(self._given(), self._random.choice(list(Side)))] if self._random.random() < 0.3 else []
        self._brand.unmerge(merge, *sides)

    def _link(self) -> None:
        self._brand.link(self._two()[0], self._given())

    def _unlink(self) -> None:
        self._brand.unlink(self._two()[0], self._given())

    def _keep_apart(self) -> None:
        self._brand.keep_apart(*self._two())

    def _allow_reunion(self) -> None:
        self._brand.allow_reunion(*self._two())

    def _erase(self) -> None:
        """To the end, or only to its beginning."""
        node = self._two()[0]
        if self._random.random() < 0.8:
            self._brand.erase(node)
        else:
            self._brand.begin_erasure(self._brand.request_erasure(node).id)

    def _nodes(self) -> list[UUID]:
        return [it.originator_id for it in self._events(Customer.Registered)]

    def _events(self, kind: type[E]) -> list[E]:
        """All of that kind that anybody has recorded; of the log only what was not read before."""
        self._read += self._brand.recorded(self._read[-1].position if self._read else 0)
        return [it.event for it in self._read if isinstance(it.event, kind)]

    def _two(self) -> tuple[UUID, UUID]:
        nodes = self._nodes()
        if len(nodes) < 2:
            self._brand.resolve(phone(1))
            self._brand.resolve(phone(2))
            nodes = self._nodes()
        one, other = self._random.choices(nodes, k=2)
        return one, other

    def _given(self) -> Given:
        make = self._random.choice([phone, phone, unionid, member, email, device, anonymous, anonymous])
        number = self._random.randint(1, 4)
        return make(f"v{number}" if make in (email, device, anonymous) else number)  # type: ignore[operator, no-any-return]


def wrong_histories(seeds: Iterable[int]) -> list[str]:
    """What is wrong after the history of each seed, where anything is."""
    found: list[str] = []
    for seed in seeds:
        brand = Brand(MemoryEventStore())
        History(brand, seed).run(STEPS)
        try:
            compare(brand)
        except AssertionError as wrong:
            found.append(f"history {seed}: {wrong}")
    return found


def careless(exact: Callable[..., Belongings]) -> Callable[..., Belongings]:
    """`Customer.belongings_of` with a bug: a merge taken back leaves the survivor with what the other had brought."""

    def belongings_of(self: Customer, nodes: Any, moves: Any = ()) -> Belongings:
        kept = exact(self, nodes, moves)
        return kept if self.id not in nodes else self.belongings

    return belongings_of
