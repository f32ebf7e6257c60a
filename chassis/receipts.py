"""Receipts: what was answered to a request, kept so that the same request has one effect for ever."""

import json
from collections.abc import Collection, Sequence
from typing import Any, ClassVar, NamedTuple

import psycopg
import sqlalchemy as sa
from google.protobuf import message_factory
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message

from chassis import errors
from chassis.context import Call
from chassis.errors import DomainError
from chassis.postgres import columns, driver_cursor

ReceiptKey = tuple[str, str, str]
"""Tenant, RPC, request id."""


class Receipt(NamedTuple):
    """The answer given to one request: a message or a refusal.

    `answer_type` is the full name of the message, empty for none, or `!<code>` of a refusal, whose
    details are then JSON in `answer`.
    """

    tenant: str
    rpc: str
    request_id: str
    fingerprint: bytes
    answer_type: str
    answer: bytes

    @classmethod
    def of(cls, tenant: str, call: Call, outcome: Message | DomainError | None) -> "Receipt":
        match outcome:
            case None:
                kind, answer = "", b""
            case DomainError():
                kind, answer = f"!{outcome.code}", _refusal_json(outcome)
            case _:
                kind = outcome.DESCRIPTOR.full_name
                answer = outcome.SerializeToString(deterministic=True)
        return cls(tenant, call.rpc, call.request_id, call.fingerprint, kind, answer)

    @property
    def key(self) -> ReceiptKey:
        return self.tenant, self.rpc, self.request_id

    def replay(self, call: Call) -> Message | None:
        """The stored answer; raises the stored refusal, or RequestIdReused for another request."""
        if call.fingerprint != self.fingerprint:
            raise errors.RequestIdReused(field="request_id")
        if self.answer_type.startswith("!"):
            raise _refusal(self.answer_type[1:], self.answer)
        if not self.answer_type:
            return None
        descriptor = Default().FindMessageTypeByName(self.answer_type)
        message: Message = message_factory.GetMessageClass(descriptor).FromString(self.answer)
        return message


class MemoryReceipts:
    """Receipts in a dictionary, for unit tests."""

    def __init__(self) -> None:
        self._receipts: dict[ReceiptKey, Receipt] = {}

    def read(self, keys: Collection[ReceiptKey]) -> dict[ReceiptKey, Receipt]:
        return {key: self._receipts[key] for key in keys if key in self._receipts}

    def write(self, receipts: Sequence[Receipt]) -> None:
        self._receipts.update((it.key, it) for it in receipts)


class PostgresReceipts:
    """Receipts in the transaction of the events they answer for."""

    DDL: ClassVar[Sequence[str]] = (
        (
            "CREATE TABLE IF NOT EXISTS receipts ("
            " tenant text NOT NULL, rpc text NOT NULL, request_id text NOT NULL,"
            " fingerprint bytea NOT NULL, answer_type text NOT NULL, answer bytea NOT NULL,"
            " PRIMARY KEY (tenant, rpc, request_id))"
        ),
    )
    _READ = (
        "SELECT r.tenant, r.rpc, r.request_id, fingerprint, answer_type, answer"
        " FROM unnest(%s::text[], %s::text[], %s::text[]) AS k(tenant, rpc, request_id)"
        " JOIN receipts r USING (tenant, rpc, request_id)"
    )
    _WRITE = (
        "INSERT INTO receipts SELECT * FROM"
        " unnest(%s::text[], %s::text[], %s::text[], %s::bytea[], %s::text[], %s::bytea[])"
    )

    def __init__(self, rows: sa.Connection) -> None:
        self._rows = rows

    def ask(self, keys: Collection[ReceiptKey]) -> psycopg.Cursor[tuple[Any, ...]] | None:
        """Send for the receipts of `keys`; give the cursor to `answered` after the pipeline."""
        return driver_cursor(self._rows).execute(self._READ, columns(keys), prepare=True) if keys else None

    def answered(self, cursor: psycopg.Cursor[tuple[Any, ...]] | None) -> dict[ReceiptKey, Receipt]:
        found = [
            Receipt(tenant, rpc, request_id, bytes(fingerprint), kind, bytes(answer))
            for tenant, rpc, request_id, fingerprint, kind, answer in (cursor.fetchall() if cursor else ())
        ]
        return {it.key: it for it in found}

    def write(self, receipts: Sequence[Receipt]) -> None:
        if not receipts:
            return
        driver_cursor(self._rows).execute(self._WRITE, columns(receipts), prepare=True)


_BY_CODE: dict[str, type[DomainError]] = {
    kind.code: kind
    for kind in (
        errors.InvalidArgument,
        errors.NotFound,
        errors.AlreadyExists,
        errors.FailedPrecondition,
        errors.PermissionDenied,
        errors.Unauthenticated,
    )
}


def _refusal_json(error: DomainError) -> bytes:
    return json.dumps([error.reason, str(error), error.field, error.metadata]).encode()


def _refusal(code: str, answer: bytes) -> DomainError:
    reason, message, field, metadata = json.loads(answer)
    error = _BY_CODE[code](message, field=field, **metadata)
    error.reason = reason
    return error
