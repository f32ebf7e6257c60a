"""Finding customers by what somebody typed, page by page: exact matches first, then names, then how assignment keys begin."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2
from services.identity.adapters import wire
from services.identity.application.searching import Match
from services.identity.read_models.assignment_keys import keys_with_prefix
from services.identity.read_models.customer_directory import CustomerRow, canonical, customers_with_ids
from services.identity.read_models.names import nodes_named

NAME: Final = "name"
ASSIGNMENT_KEY: Final = "assignment_key"
_EXACT, _NAMED, _BEGUN = range(3)
_MATCHED: Final = {_NAMED: NAME, _BEGUN: ASSIGNMENT_KEY}

Place = tuple[int, str, UUID]
"""Which kind of match, by what, and the node: what hits are sorted by."""
Found = tuple[Place, profile_pb2.SearchHit | None]
"""A match, and the hit where the directory has the customer for this caller."""


@dataclass(frozen=True, slots=True)
class Question:
    """What was typed: the nodes that it names exactly, the hashes of its words, and the text as it may begin a key.

    Hits are `only` those customers (None: all).
    """

    exact: Sequence[Match]
    name_hashes: Sequence[bytes]
    text: str
    only: sa.ColumnElement[bool] | None = None


def search(rows: sa.Connection, question: Question, after: Place | None, limit: int) -> list[Found]:
    """Up to `limit` matches behind `after`."""
    places = [(_EXACT, it.matched, it.node) for it in question.exact]
    places = [it for it in places if after is None or it > after][:limit]
    stage = after[0] if after else _EXACT
    if len(places) < limit and stage <= _NAMED:
        begun = after[2] if after and stage == _NAMED else None
        places += [(_NAMED, "", it) for it in nodes_named(rows, question.name_hashes, begun, limit - len(places))]
    if len(places) < limit:
        key = (after[1], after[2]) if after and stage == _BEGUN else None
        places += [(_BEGUN, it.key, it.node) for it in keys_with_prefix(rows, question.text, key, limit - len(places))]
    customer_of = canonical(rows, [node for *_, node in places])
    summaries = customers_with_ids(rows, set(customer_of.values()), only=question.only)
    return [(it, _hit(it, summaries.get(customer_of.get(it[2], it[2])))) for it in places]


def _hit(place: Place, row: CustomerRow | None) -> profile_pb2.SearchHit | None:
    if row is None:
        return None
    stage, matched, node = place
    return profile_pb2.SearchHit(customer=wire.summary(row), matched=_MATCHED.get(stage, matched), node_id=str(node))
