"""Whenever a name changes, the person is found under the new one: identity follows its own messages, out of the way of who writes."""

from collections.abc import Iterator, Sequence
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate
from chassis.commands import UnitOfWork
from chassis.envelope import Incoming
from scrm.identity.v1.events_pb2 import AttributesChanged
from scrm.identity.v1.events_pb2 import CustomerErased as CustomerErasedMessage
from services.identity.application.attribute_upsert import sealed_as
from services.identity.application.vault import Vault
from services.identity.domain.attribute_values import AttributeValues, values_id
from services.identity.domain.errors import CustomerErased
from services.identity.domain.name_index import NAME_KEYS, NameHashes, NameIndex, name_index_id, searchable
from services.identity.domain.sealing import SealedValue

CONSUMER: Final = "identity_names"
STREAM: Final = "identity"
EVENTS: Final = ("attributes_changed", "customer_erased")


class NameIndexing:
    """Keeps the name index of every node as its names are now, not as they were when a message was sent."""

    def __init__(self, vault: Vault, hashes: NameHashes) -> None:
        self._vault = vault
        self._hashes = hashes

    def follow(self, batch: Sequence[Incoming], work: UnitOfWork) -> None:
        """Index the nodes whose names a batch of messages tells of."""
        nodes = sorted({node for it in batch for node in _concerned(it)})
        tenant = work.context.tenant
        ids = [id for node in nodes for id in (values_id(tenant, node), name_index_id(tenant, node))]
        work.find_all(Aggregate, ids)
        for node in nodes:
            self._index(node, work)

    def _index(self, node: UUID, work: UnitOfWork) -> None:
        tenant = work.context.tenant
        values = work.find(AttributeValues, values_id(tenant, node))
        if values is None:
            return
        words = {word for name in self._names(values, work) for word in searchable(name)}
        index = work.find(NameIndex, name_index_id(tenant, node))
        if index is None:
            index = NameIndex.of_node(tenant, node)
            work.add(index)
        index.index(self._hashes.of(tenant, words), work.now)

    def _names(self, values: AttributeValues, work: UnitOfWork) -> Iterator[str]:
        """Every name that any source knows; none of an erased person."""
        for (key, _), it in values.values.items():
            if key not in NAME_KEYS:
                continue
            if it.held.text is not None:
                yield it.held.text
            elif it.held.sealed is not None and it.held.sealed_for is not None:
                try:
                    yield self._vault.open(work, SealedValue(it.held.sealed_for, sealed_as(key), it.held.sealed))
                except CustomerErased:
                    continue


def _concerned(message: Incoming) -> Iterator[UUID]:
    """The nodes whose names may be others now."""
    if message.type == CustomerErasedMessage.DESCRIPTOR.full_name:
        yield from map(UUID, message.parse(CustomerErasedMessage).node_ids)
        return
    told = message.parse(AttributesChanged)
    if any(it.key in NAME_KEYS for it in told.changed):
        yield UUID(told.node_id)
