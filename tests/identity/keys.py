"""The data keys of the vault, on either store."""

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from chassis.commands import UnitOfWork
from chassis.event_store import MemoryEventStore, PostgresEventStore
from chassis.log import EventStore
from services.identity.adapters.key_table import SqlKeyTable, read_keys
from services.identity.application.vault import INSERT_KEYS, KeyTable, KeyTables, WrappedKey


class MemoryKeyTable:
    """The rows that units of work have inserted into the memory store. Destroying takes effect at once, not at the commit."""

    def __init__(self, store: MemoryEventStore, tenant: str) -> None:
        self._rows = store.rows.setdefault(INSERT_KEYS, {})
        self._tenant = tenant

    def read(self, nodes: Collection[UUID]) -> Mapping[UUID, WrappedKey]:
        rows = {node: self._rows.get((self._tenant, node)) for node in nodes}
        return {node: WrappedKey(it[2], it[3]) for node, it in rows.items() if it is not None}

    def destroy(self, nodes: Collection[UUID], at: datetime) -> None:
        self._rows.update({(self._tenant, node): (self._tenant, node, "", None, at) for node in nodes})


def key_tables(store: EventStore) -> KeyTables:
    """The keys beside the events of `store`."""

    def tables(work: UnitOfWork) -> KeyTable:
        if isinstance(store, MemoryEventStore):
            return MemoryKeyTable(store, work.context.tenant)
        return SqlKeyTable(work)

    return tables


def stored_keys(store: EventStore, tenant: str, nodes: Collection[UUID]) -> Mapping[UUID, WrappedKey]:
    """The keys of `nodes` as they are stored now."""
    if isinstance(store, MemoryEventStore):
        return MemoryKeyTable(store, tenant).read(nodes)
    assert isinstance(store, PostgresEventStore)
    with store.engine.connect() as rows:
        return read_keys(rows, tenant, nodes)
