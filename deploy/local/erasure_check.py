"""Checks certificates of erasure against the databases: that nothing leads to the people any more, and no key is left.

Besides what only says that a node is erased, its id may be in the logs, which are never changed: there it is a random number.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from google.protobuf import json_format

from deploy.local.canaries import Found, Hunt, Reachable, Words, in_tables
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

_KEYS: Final = "SELECT count(*) FROM data_keys WHERE node = ANY(%s) AND wrapped IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What speaks against certificates: nothing, if they are true. `altered` are the cases whose certificate is another than was
    given, `left` the nodes that are still found, by table, `keys` how many data keys there still are."""

    altered: Sequence[str]
    left: Mapping[str, int]
    keys: int

    @property
    def holds(self) -> bool:
        return not self.altered and not self.left and not self.keys


def verify(certificates: Sequence[ErasureCertificate], dsn_of: Reachable) -> Verdict:
    """Look for all nodes of `certificates` in every table of every service; `dsn_of` a service must see all rows."""
    (found,) = in_tables([hunt_of(certificates)], MARKS.keys(), dsn_of)
    return judge(certificates, found, dsn_of)


def hunt_of(certificates: Sequence[ErasureCertificate]) -> Hunt:
    """The nodes of `certificates`, as ids or within bytes, where they may not be."""
    nodes = list(_nodes(certificates))
    digits = {it.replace("-", ""): it for it in nodes}
    forms = {
        form: it
        for word, it in digits.items()
        for form in (word.encode(), word.encode().hex().encode(), bytes.fromhex(word))
    }
    return Hunt(Words(nodes, forms), {service: LOGS | marks for service, marks in MARKS.items()})


def judge(certificates: Sequence[ErasureCertificate], found: Found, dsn_of: Reachable) -> Verdict:
    """What there is to say where the hunt for the nodes of `certificates` has `found` this."""
    with psycopg.connect(dsn_of("identity")) as connection:
        keys = connection.execute(_KEYS, [list(_nodes(certificates))]).fetchone()
    altered = [it.case_id for it in certificates if digest_of(it) != it.digest]
    return Verdict(altered, {table: len(nodes) for table, nodes in found.items()}, int(keys[0]) if keys else 0)


def _nodes(certificates: Sequence[ErasureCertificate]) -> Iterator[str]:
    return (node for it in certificates for node in it.node_ids)


def digest_of(certificate: ErasureCertificate) -> str:
    """SHA-256 (hex) of everything else in it: proto3 JSON with proto field names, keys sorted, without spaces and defaults."""
    content = ErasureCertificate()
    content.CopyFrom(certificate)
    content.ClearField("digest")
    fields = json_format.MessageToDict(content, preserving_proto_field_name=True)
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
