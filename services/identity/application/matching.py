"""Finding pairs of customers who may be one person: keys, blocks, comparison; and learning by what to compare."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

import numpy as np
import numpy.typing as npt

from services.identity.application.matching_commands import Proposal
from services.identity.domain.blocking import BlockKey, BlockKeys, KeyKind
from services.identity.domain.comparing import Places, Population
from services.identity.domain.estimation import Estimate, Sample, estimate, with_accepted, with_u
from services.identity.domain.match_candidate import weighed_finding
from services.identity.domain.match_model import Levels, MatchModel
from services.identity.domain.match_run import Skipped
from services.identity.domain.traits import Known, Traits

LARGEST_BLOCK: Final = 200
"""Customers with a key in common; what more of them share tells little, and their pairs would be too many."""

CUSTOMERS_AT_ONCE: Final = 2_000
KEYS_AT_ONCE: Final = 20_000
PAIRS_IN_MEMORY: Final = 1_000_000
PAIRS_AT_ONCE: Final = 200_000
MOST_SAMPLED: Final = 20_000
RANDOM_PAIRS: Final = 300_000

Pair = tuple[UUID, UUID]


@dataclass(frozen=True, slots=True)
class Block:
    """Customers who have a key in common."""

    key: BlockKey
    customers: tuple[UUID, ...]


class TraitBook(Protocol):
    """What is known of the customers of a tenant."""

    async def known(self, tenant: str, nodes: Collection[UUID]) -> Sequence[Known]:
        """Of the customers to whom `nodes` belong now, each once; nothing of the erased."""
        ...

    async def telling(self, tenant: str, nodes: Collection[UUID]) -> Collection[UUID]:
        """Those of `nodes` of whose customers anything is known that keys are made of: most visitors have nothing to compare."""
        ...

    async def customers(self, tenant: str, after: UUID | None, limit: int) -> Sequence[UUID]:
        """Up to `limit` customers behind `after`, in the order of their ids."""
        ...


class Blocks(Protocol):
    """The keys of the customers of a tenant, and who has them in common."""

    async def keep(self, tenant: str, keys: Mapping[UUID, Collection[BlockKey]]) -> None:
        """These customers have these keys and no others."""
        ...

    async def around(self, tenant: str, customers: Collection[UUID]) -> tuple[Sequence[Block], Sequence[Skipped]]:
        """The blocks of two and more in which one of `customers` is, and those too large to be told."""
        ...

    async def count(self, tenant: str) -> int:
        """How many keys the customers have."""
        ...

    async def part(self, tenant: str, number: int, of: int) -> Sequence[Block]:
        """Part `number` out of `of` nearly equal parts of all blocks of two and more, without those too large."""
        ...

    async def oversized(self, tenant: str) -> Sequence[Skipped]:
        """All blocks that are too large."""
        ...


@dataclass(frozen=True, slots=True)
class Compared:
    """Pairs that may be one person, out of how many that were compared, and what was left out."""

    proposals: tuple[Proposal, ...]
    pairs: int
    skipped: tuple[Skipped, ...] = ()


class Matching:
    """Compares the customers of any tenant by a model."""

    def __init__(self, book: TraitBook, blocks: Blocks, keys: BlockKeys) -> None:
        self._book = book
        self._blocks = blocks
        self._keys = keys

    async def refresh(self, tenant: str, nodes: Collection[UUID]) -> list[UUID]:
        """Keep the keys of the customers of `nodes` up to date; who of them may have any. Nodes of others have no keys of their own."""
        keys: dict[UUID, Collection[BlockKey]] = dict.fromkeys(nodes, ())
        known = await self._book.known(tenant, await self._book.telling(tenant, nodes))
        if known:
            keys |= await asyncio.to_thread(self._keys_of, tenant, known)
        await self._blocks.keep(tenant, keys)
        return [it.customer for it in known]

    async def refresh_all(self, tenant: str) -> None:
        """The same for everybody."""
        after: UUID | None = None
        while page := await self._book.customers(tenant, after, CUSTOMERS_AT_ONCE):
            await self.refresh(tenant, page)
            after = page[-1]

    async def compare(self, tenant: str, customers: Collection[UUID], model: MatchModel) -> Compared:
        """`customers` with those who have a key in common with them."""
        if not customers:
            return Compared((), 0)
        blocks, skipped = await self._blocks.around(tenant, customers)
        found = await self._compared(tenant, blocks, model, frozenset(customers))
        return Compared(found.proposals, found.pairs, tuple(skipped))

    async def compare_all(self, tenant: str, model: MatchModel) -> AsyncIterator[Compared]:
        """Everybody with everybody who has a key in common, some blocks at a time."""
        parts = -(-await self._blocks.count(tenant) // KEYS_AT_ONCE)
        for number in range(parts):
            for portion in _portions(await self._blocks.part(tenant, number, parts)):
                yield await self._compared(tenant, portion, model)
        yield Compared((), 0, tuple(await self._blocks.oversized(tenant)))

    async def unlike(self, tenant: str, pairs: Sequence[Pair], model: MatchModel) -> set[Pair]:
        """Those of `pairs` of customers that do not reach the low threshold; whoever is no customer any more is left out."""
        known = await self._book.known(tenant, {id for pair in pairs for id in pair})
        return await asyncio.to_thread(lambda: _unlike([it.traits() for it in known], pairs, model))

    async def learn(self, tenant: str, model: MatchModel, seed: int) -> Estimate:
        """`model` with the figures of this tenant, from up to 20,000 customers, without being told who is who."""
        return await asyncio.to_thread(self._learnt, tenant, await self._sample(tenant), model, seed)

    async def learn_from(self, tenant: str, model: MatchModel, accepted: Levels, seed: int) -> Estimate:
        """`model` with m as seen among the pairs that stewards accepted."""
        sample = await self._sample(tenant)
        at_random = await asyncio.to_thread(lambda: _at_random(Population(sample), seed))
        learnt = with_accepted(with_u(model, at_random), accepted)
        return Estimate(learnt, len(accepted), len(at_random), float(len(accepted)))

    async def _compared(
        self, tenant: str, blocks: Sequence[Block], model: MatchModel, among: frozenset[UUID] | None = None
    ) -> Compared:
        known = await self._book.known(tenant, {id for it in blocks for id in it.customers})
        return await asyncio.to_thread(lambda: _scored([it.traits() for it in known], blocks, model, among))

    def _keys_of(self, tenant: str, known: Sequence[Known]) -> dict[UUID, Collection[BlockKey]]:
        return {it.customer: self._keys.of(tenant, it.traits()) for it in known}

    async def _sample(self, tenant: str) -> list[Traits]:
        known: list[Known] = []
        after: UUID | None = None
        while len(known) < MOST_SAMPLED:
            page = await self._book.customers(tenant, after, CUSTOMERS_AT_ONCE)
            if not page:
                break
            known += await self._book.known(tenant, page)
            after = page[-1]
        return await asyncio.to_thread(lambda: [it.traits() for it in known])

    def _learnt(self, tenant: str, sample: Sequence[Traits], model: MatchModel, seed: int) -> Estimate:
        population = Population(sample)
        by_kind = self._pairs_by_kind(tenant, population)
        samples = [Sample(population.compare(*pairs), kind.features) for kind, pairs in by_kind.items()]
        count = len(sample)
        return estimate(model, samples, _at_random(population, seed), count * (count - 1) / 2)

    def _pairs_by_kind(self, tenant: str, population: Population) -> dict[KeyKind, tuple[Places, Places]]:
        """The pairs of a population that have a key in common, by the kind of key."""
        members: dict[BlockKey, list[int]] = {}
        for place, it in enumerate(population.traits):
            for key in self._keys.of(tenant, it):
                members.setdefault(key, []).append(place)
        count = len(population.traits)
        of_kind: dict[KeyKind, list[npt.NDArray[np.int64]]] = {}
        for key, places in members.items():
            if 1 < len(places) <= LARGEST_BLOCK:
                of_kind.setdefault(key.kind, []).append(_codes(np.array(places), count))
        return {kind: _decoded(codes, count) for kind, codes in of_kind.items()}


def _portions(blocks: Sequence[Block]) -> Iterable[Sequence[Block]]:
    """The blocks in order, as many at a time as have about so many pairs as may be in memory."""
    portion: list[Block] = []
    pairs = 0
    for it in blocks:
        portion.append(it)
        pairs += len(it.customers) * (len(it.customers) - 1) // 2
        if pairs >= PAIRS_IN_MEMORY:
            yield portion
            portion, pairs = [], 0
    if portion:
        yield portion


def _scored(
    traits: Sequence[Traits], blocks: Iterable[Block], model: MatchModel, among: frozenset[UUID] | None
) -> Compared:
    """The pairs of the blocks, each once, that reach the low threshold; `among` has one of every pair."""
    places = {it.customer: place for place, it in enumerate(traits)}
    codes = [np.empty(0, dtype=np.int64)]
    for block in blocks:
        members = sorted(places[it] for it in block.customers if it in places)
        codes.append(_codes(np.array(members, dtype=np.int64), len(traits)))
    left, right = _decoded(codes, len(traits))
    if among is not None:
        wanted = np.array([it.customer in among for it in traits], dtype=np.bool_)
        chosen = wanted[left] | wanted[right]
        left, right = left[chosen], right[chosen]
    population = Population(traits)
    found: list[Proposal] = []
    for start in range(0, len(left), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        found += _proposals(population, left[part], right[part], model)
    return Compared(tuple(found), len(left))


def _unlike(traits: Sequence[Traits], pairs: Sequence[Pair], model: MatchModel) -> set[Pair]:
    places = {it.customer: place for place, it in enumerate(traits)}
    present = [it for it in pairs if it[0] in places and it[1] in places]
    sides = (np.array([places[it[side]] for it in present], dtype=np.int64) for side in (0, 1))
    weights = model.weights(Population(traits).compare(*sides))
    return {pair for pair, weight in zip(present, weights, strict=True) if weight < model.least_weight}


def _proposals(population: Population, left: Places, right: Places, model: MatchModel) -> Iterable[Proposal]:
    levels = population.compare(left, right)
    for place in np.flatnonzero(model.weights(levels) >= model.least_weight):
        weighed = model.weigh(levels[place].tolist())
        if weighed.band is not None:
            one, other = population.traits[left[place]].customer, population.traits[right[place]].customer
            yield Proposal(one, other, weighed_finding(weighed, model.version))


def _at_random(population: Population, seed: int) -> Levels:
    """The levels of pairs taken at random."""
    count = len(population.traits)
    left, right = np.random.default_rng(seed).integers(0, max(count, 1), (2, RANDOM_PAIRS if count > 1 else 0))
    two = left != right
    return population.compare(left[two], right[two])


def _codes(members: Places, count: int) -> npt.NDArray[np.int64]:
    """Every pair of `members`, which are in order, as one number."""
    one, other = np.triu_indices(len(members), 1)
    codes: npt.NDArray[np.int64] = members[one] * count + members[other]
    return codes


def _decoded(codes: Sequence[npt.NDArray[np.int64]], count: int) -> tuple[Places, Places]:
    """The pairs behind the numbers, each once."""
    left, right = np.divmod(np.unique(np.concatenate(codes)), max(count, 1))
    return left, right
