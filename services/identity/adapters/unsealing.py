"""Reading what is personal, for those who may see it."""

from collections.abc import Sequence

import sqlalchemy as sa

from chassis.context import current
from services.identity.adapters.key_table import read_keys
from services.identity.application.vault import KeyWrap
from services.identity.domain.sealing import DataKey, Place, SealedValue


class Unsealer:
    """Opens sealed values of the tenant of the running call. Keeps no key: what is erased now cannot be read now."""

    def __init__(self, wrap: KeyWrap) -> None:
        self._wrap = wrap

    def open(self, rows: sa.Connection, items: Sequence[SealedValue]) -> list[str | None]:
        """The values in the order of `items`, None for the erased ones; one query for all. Raises SealBroken."""
        tenant = current().tenant
        stored = read_keys(rows, tenant, {it.node for it in items}) if items else {}
        keys = {node: self._wrap.unwrap(tenant, node, it) for node, it in stored.items()}
        opened = {node: DataKey(key) for node, key in keys.items() if key is not None}
        return [
            opened[it.node].open(it.sealed, Place(tenant, it.node, it.field)) if it.node in opened else None
            for it in items
        ]
