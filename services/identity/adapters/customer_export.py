"""All that identity knows of a customer, for the customer: section by section, each record a line of JSON.

A part of identity that keeps something of people adds its section to SECTIONS.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias
from uuid import UUID

import sqlalchemy as sa

from services.identity.adapters.attribute_reading import opened, rows_of
from services.identity.adapters.engagement_wire import words_of_entry
from services.identity.adapters.unsealing import Unsealer
from services.identity.domain.attribute_values import AttributeValues
from services.identity.domain.consent import Permissions
from services.identity.domain.customer import Customer
from services.identity.domain.sealing import SealedValue
from services.identity.read_models.contact_history import contact_history
from services.identity.read_models.leads import LeadFilter, list_leads
from services.identity.read_models.merge_history import merge_history

MOST_MERGES: Final = 10_000
MOST_ENTRIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Dossier:
    """A customer as of the last write, and what is needed to read the rest."""

    customer: Customer
    permissions: Sequence[Permissions]
    attributes: Sequence[AttributeValues]
    rows: sa.Connection
    unsealer: Unsealer


Record: TypeAlias = Mapping[str, Any]


def lines(section: str, dossier: Dossier) -> list[str]:
    """The records of a section as JSON, each with the name of the section."""
    return [
        json.dumps({"section": section, **it}, default=_text, ensure_ascii=False) for it in SECTIONS[section](dossier)
    ]


def _customer(of: Dossier) -> Iterator[Record]:
    it = of.customer
    yield {
        "customer_id": it.id,
        "state": it.state,
        "assignment_key": it.assignment_key,
        "create_time": it.registered_at,
        "node_ids": list(it.nodes),
    }


def _identifiers(of: Dossier) -> Iterator[Record]:
    """With their values, but for those linked before values were kept."""
    linked = list(of.customer.identifiers.values())
    sealed = [it for it in linked if it.sealed]
    asked = [SealedValue(it.node, it.sealed_as, it.sealed) for it in sealed]
    values = {it.key: value for it, value in zip(sealed, of.unsealer.open(of.rows, asked), strict=True)}
    for it in linked:
        yield {
            "namespace": it.namespace,
            "scope": it.scope,
            "value": values.get(it.key),
            "verified": it.verified,
            "link_time": it.linked_at,
            "node_id": it.node,
        }


def _consents(of: Dossier) -> Iterator[Record]:
    for permissions in of.permissions:
        for it in permissions.statements.values():
            yield {
                "node_id": permissions.node,
                "purpose": it.purpose,
                "channel": it.channel,
                "state": it.state,
                "policy_version": it.policy_version,
                "source": it.source,
                "make_time": it.made_at,
            }


def _channels(of: Dossier) -> Iterator[Record]:
    for permissions in of.permissions:
        for it in permissions.reachability.values():
            yield {
                "node_id": permissions.node,
                "channel": it.channel,
                "reachable": it.reachable,
                "reason": it.reason,
                "since_time": it.since,
            }


def _attributes(of: Dossier) -> Iterator[Record]:
    """What every source says, whether it counts or not."""
    held = [row for values in of.attributes for row in rows_of(values)]
    for it in opened(of.rows, of.unsealer, held):
        yield {
            "node_id": it.node,
            "key": it.key,
            "source": it.source,
            "value": it.text,
            "observe_time": it.observed_at,
        }


def _merges(of: Dossier) -> Iterator[Record]:
    for it in merge_history(of.rows, list(of.customer.nodes), None, MOST_MERGES):
        yield {
            "merge_id": it.merge_id,
            "survivor_id": it.survivor,
            "loser_id": it.loser,
            "reason": it.reason,
            "merge_time": it.merged_at,
            "undo_time": it.undone_at,
        }


def _history(of: Dossier) -> Iterator[Record]:
    """Follow-ups, contacts, work orders and messages, the newest first, with the words that were said."""
    found = contact_history(of.rows, list(of.customer.nodes), (), None, MOST_ENTRIES)
    sealed = [(it.entry, words) for it in found for words in words_of_entry(it)]
    texts = of.unsealer.open(of.rows, [words for _, words in sealed])
    said = {entry: text for (entry, _), text in zip(sealed, texts, strict=True)}
    for it in found:
        yield {
            "node_id": it.node,
            "kind": it.kind,
            "code": it.code,
            "direction": it.direction,
            "result": it.result,
            "topics": list(it.topics),
            "words": said.get(it.entry),
            "occur_time": it.occurred_at,
        }


def _leads(of: Dossier) -> Iterator[Record]:
    for it in list_leads(of.rows, LeadFilter(nodes=list(of.customer.nodes)), None, MOST_ENTRIES):
        yield {
            "node_id": it.node,
            "category": it.category,
            "score": it.score,
            "state": it.state,
            "open_time": it.opened_at,
        }


SECTIONS: Final[Mapping[str, Callable[[Dossier], Iterator[Record]]]] = {
    "customer": _customer,
    "identifiers": _identifiers,
    "attributes": _attributes,
    "consents": _consents,
    "channels": _channels,
    "merges": _merges,
    "history": _history,
    "leads": _leads,
}
"""What is told, in this order."""


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in an export")
