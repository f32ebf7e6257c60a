"""Checks a certificate of erasure against the databases: that nothing leads to the person any more, and no key is left.

Besides what only says that a node is erased, its id may be in the logs, which are never changed: there it is a random number.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from google.protobuf import json_format
from psycopg import sql

from scrm.identity.v1.erasure_pb2 import ErasureCertificate

LOGS: Final = frozenset({"stored_events", "inbox", "receipts"})
MARKS: Final[Mapping[str, frozenset[str]]] = {
    "identity": frozenset(
        {"customers", "customer_nodes", "merges", "erasure_cases", "data_keys"}
        | {"work_orders", "contact_entries", "leads", "sent_messages", "steward_queue", "told_erased"}
    ),
    "tracking": frozenset({"erased_nodes", "erased_path_nodes"}),
    "tagging": frozenset({"nodes"}),
    "membership": frozenset(),
    "campaigns": frozenset({"erased_nodes", "erased_units"}),
}
"""Tables whose rows say of a node that it is erased, or what was once done for it without a word that could still be read, by
service."""

_TABLES: Final = (
    "SELECT table_schema, table_name FROM information_schema.tables"
    " WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2"
)
_KEYS: Final = "SELECT count(*) FROM data_keys WHERE node = ANY(%s) AND wrapped IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What speaks against a certificate: nothing, if it is true."""

    is_altered: bool
    rows: Mapping[str, int]
    keys: int

    @property
    def holds(self) -> bool:
        return not self.is_altered and not self.rows and not self.keys


def verify(certificate: ErasureCertificate, dsn_of: Callable[[str], str]) -> Verdict:
    """Look for the nodes of `certificate` in every table of every service; `dsn_of` a service must see all rows."""
    rows: dict[str, int] = {}
    for service, marks in MARKS.items():
        with psycopg.connect(dsn_of(service)) as connection:
            rows |= _rows(connection, service, LOGS | marks, certificate.node_ids)
    with psycopg.connect(dsn_of("identity")) as connection:
        found = connection.execute(_KEYS, [list(certificate.node_ids)]).fetchone()
    return Verdict(digest_of(certificate) != certificate.digest, rows, int(found[0]) if found else 0)


def digest_of(certificate: ErasureCertificate) -> str:
    """SHA-256 (hex) of everything else in it: proto3 JSON with proto field names, keys sorted, without spaces and defaults."""
    content = ErasureCertificate()
    content.CopyFrom(certificate)
    content.ClearField("digest")
    fields = json_format.MessageToDict(content, preserving_proto_field_name=True)
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _rows(
    connection: psycopg.Connection, service: str, allowed: Collection[str], nodes: Sequence[str]
) -> dict[str, int]:
    """Rows with one of `nodes` in them, as an id or within bytes, by table."""
    patterns = [f"%{it}%" for node in nodes for it in (node, node.encode().hex(), node.replace("-", ""))]
    found: dict[str, int] = {}
    for schema, table in connection.execute(_TABLES).fetchall():
        if table in allowed:
            continue
        query = sql.SQL("SELECT count(*) FROM {} AS t WHERE t::text LIKE ANY(%s)").format(sql.Identifier(schema, table))
        counted = connection.execute(query, [patterns]).fetchone()
        if counted and counted[0]:
            found[f"{service}.{table}"] = found.get(f"{service}.{table}", 0) + counted[0]
    return found
