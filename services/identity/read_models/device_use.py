"""DeviceUse: which customers were seen on which devices, for comparing them; devices that many share are none of anybody.

A device is known by its claim. Who had it keeps its place here when the device goes to another: that is what two have in
common. Rows of one device are only ever added, and removed when the customer is erased, so that it does not matter how the log
interleaves devices.
"""

from collections.abc import Collection, Sequence
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa

from chassis.log import Recorded
from chassis.projection import Source
from services.identity.domain.claim import IdentifierClaim
from services.identity.domain.customer import Customer
from services.identity.read_models.concerned import concerning

DEVICE: Final = "device_id"

tables: Final = sa.MetaData()

devices: Final = sa.Table(
    "devices",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("device", sa.Uuid, primary_key=True),
    sa.Column("usable", sa.Boolean, nullable=False),
)

uses: Final = sa.Table(
    "device_uses",
    tables,
    sa.Column("tenant", sa.Text, primary_key=True),
    sa.Column("node", sa.Uuid, primary_key=True),
    sa.Column("device", sa.Uuid, primary_key=True),
)


_EVENTS: Final = frozenset(
    {
        IdentifierClaim.Claimed,
        IdentifierClaim.Reclaimed,
        IdentifierClaim.Reassigned,
        IdentifierClaim.SeenWith,
        IdentifierClaim.MarkedShared,
        IdentifierClaim.Blocked,
        Customer.Erased,
    }
)


class DeviceUseProjection:
    """Keeps both tables."""

    name = "device_use"
    version = 2
    source: Source = "events"
    tables = tables

    def apply(self, items: Sequence[Recorded], rows: sa.Connection) -> None:
        items = concerning(items, _EVENTS)
        made: list[tuple[str, UUID]] = []
        seen: dict[tuple[str, UUID, UUID], None] = {}
        spoilt: list[tuple[str, UUID]] = []
        erased: list[tuple[str, UUID]] = []
        for it in items:
            match it.event:
                case IdentifierClaim.Claimed(originator_id=id, namespace=namespace, node=node):
                    if namespace == DEVICE:
                        made.append((it.tenant, id))
                        seen[it.tenant, node, id] = None
                case (
                    IdentifierClaim.Reclaimed(originator_id=id, node=node)
                    | IdentifierClaim.Reassigned(originator_id=id, node=node)
                ):
                    seen[it.tenant, node, id] = None
                case IdentifierClaim.SeenWith(originator_id=id, customer=customer):
                    seen[it.tenant, customer, id] = None
                case IdentifierClaim.MarkedShared(originator_id=id) | IdentifierClaim.Blocked(originator_id=id):
                    spoilt.append((it.tenant, id))
                case Customer.Erased(node_ids=nodes):
                    erased += [(it.tenant, node) for node in nodes]
        for statement, values in ((_MAKE, made), (_SEE, list(seen)), (_SPOIL, spoilt), (_FORGET, erased)):
            if values:
                rows.execute(statement, _columns(values))


def devices_of(rows: sa.Connection, nodes: Collection[UUID]) -> dict[UUID, set[UUID]]:
    """The devices, by their claims, on which each of `nodes` was seen, without those that many share."""
    query = (
        sa.select(uses.c.node, uses.c.device)
        .join(devices, (devices.c.tenant == uses.c.tenant) & (devices.c.device == uses.c.device))
        .where(uses.c.node.in_(list(nodes)), devices.c.usable)
    )
    found: dict[UUID, set[UUID]] = {}
    for it in rows.execute(query):
        found.setdefault(it.node, set()).add(it.device)
    return found


def _columns(values: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return {f"c{number}": list(column) for number, column in enumerate(zip(*values, strict=True))}


_MAKE: Final = sa.text(
    "INSERT INTO devices (tenant, device, usable)"
    " SELECT v.tenant, v.device, true FROM unnest(CAST(:c0 AS text[]), CAST(:c1 AS uuid[])) AS v(tenant, device)"
)
_SEE: Final = sa.text(
    "INSERT INTO device_uses (tenant, node, device) SELECT v.tenant, v.node, v.device"
    " FROM unnest(CAST(:c0 AS text[]), CAST(:c1 AS uuid[]), CAST(:c2 AS uuid[])) AS v(tenant, node, device)"
    " JOIN devices d ON (d.tenant, d.device) = (v.tenant, v.device) ON CONFLICT DO NOTHING"
)
_SPOIL: Final = sa.text(
    "UPDATE devices d SET usable = false FROM unnest(CAST(:c0 AS text[]), CAST(:c1 AS uuid[])) AS v(tenant, device)"
    " WHERE (d.tenant, d.device) = (v.tenant, v.device)"
)
_FORGET: Final = sa.text(
    "DELETE FROM device_uses u USING unnest(CAST(:c0 AS text[]), CAST(:c1 AS uuid[])) AS v(tenant, node)"
    " WHERE (u.tenant, u.node) = (v.tenant, v.node)"
)
