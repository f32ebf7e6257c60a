"""Some of the customers want to be forgotten when all is done: nothing may be left of them, and every count stays as it is."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from google.protobuf import json_format

from demo.backend import Backend, request_id
from demo.people import SHOP, Person
from demo.replay import Replay
from demo.story import Story
from demo.wire import timestamp
from deploy.local.canaries import Found, Hunt, Snapshot, Words, in_files, in_tables
from deploy.local.erasure_check import Verdict, hunt_of, judge
from deploy.local.stack import LocalStack
from scrm.identity.v1 import attribute_pb2, customer_pb2, erasure_pb2
from scrm.identity.v1 import identity_service_pb2 as identity
from scrm.identity.v1 import privacy_service_pb2 as privacy

CERTIFICATES: Final = "certificates"
_ONE_IN: Final = 235
_BASIS: Final = "PIPL_47"
_VERIFIED_BY: Final = "system/demo"


def leaving(story: Story) -> list[Person]:
    """Who wants to be forgotten: one in 235, a hundred of all customers."""
    everybody = {it.person for day in story.days for it in day.logins}
    chosen = sorted(everybody, key=lambda it: (it.roll("forget"), it.customer))
    return chosen[: round(len(everybody) / _ONE_IN)]


@dataclass(frozen=True, slots=True)
class Erasing:
    """Has `people` erased through the API; their certificates are kept in `folder`."""

    backend: Backend
    replay: Replay
    stack: LocalStack
    folder: Path

    async def erase(self, people: Sequence[Person], asked_at: datetime, done_at: datetime) -> dict[str, Any]:
        """Plant what must not be left, ask at one instant, wait until the other, look everywhere; what was found.

        What there was in tracking when they asked is looked through while they are erased.
        """
        ids = await asyncio.gather(*(self._id_of(it) for it in people))
        await self._plant(dict(zip(ids, people, strict=True)), asked_at)
        words = Words(word for it in people for word in words_of(it))
        with Snapshot.taken("tracking", self._dsn_of("tracking")) as snapshot:
            control = asyncio.to_thread(snapshot.look, [Hunt(words)])
            (before,), certificates = await asyncio.gather(control, self._erased(ids, done_at))
        verdict, left = await self._look_everywhere(words, certificates)
        return {
            "customers": len(people),
            "nodes": sum(len(it.node_ids) for it in certificates),
            "identifiers_released": sum(it.identifiers_released for it in certificates),
            "keys_destroyed": sum(it.keys_destroyed for it in certificates),
            "removed": _removed(certificates),
            "certificates_hold": verdict.holds,
            "against_certificates": {
                "altered": list(verdict.altered),
                "left": dict(verdict.left),
                "keys": verdict.keys,
            },
            "canaries_before": _counts(before),
            "canaries_left": _counts(left),
        }

    async def _id_of(self, person: Person) -> str:
        sighting = customer_pb2.Identifier(namespace="external_id", scope=SHOP, value=person.customer)
        found = await self.backend.identity.LookupCustomer(identity.LookupCustomerRequest(identifier=sighting))
        return str(found.customer.customer_id)

    async def _plant(self, people: Mapping[str, Person], at: datetime) -> None:
        """The shop has no names: these get one, which is as personal as it can be."""
        items = [
            identity.UpsertAttributesItem(
                customer_id=id,
                values=[
                    attribute_pb2.AttributeObservation(
                        key="name",
                        value=attribute_pb2.AttributeValue(text=name_of(person)),
                        source=attribute_pb2.ATTRIBUTE_SOURCE_CUSTOMER_DECLARED,
                        observe_time=timestamp(at),
                    )
                ],
            )
            for id, person in people.items()
        ]
        await self.backend.identity.BatchUpsertAttributes(
            identity.BatchUpsertAttributesRequest(request_id=request_id("names"), items=items)
        )

    async def _ask(self, customer_id: str) -> str:
        asked = privacy.RequestErasureRequest(
            request_id=request_id("forget", customer_id),
            customer_id=customer_id,
            legal_basis=_BASIS,
            verified_by=_VERIFIED_BY,
        )
        return str((await self.backend.privacy.RequestErasure(asked)).case.case_id)

    async def _erased(self, ids: Sequence[str], done_at: datetime) -> Sequence[erasure_pb2.ErasureCertificate]:
        """Ask for all of them, and wait until `done_at`."""
        cases = await asyncio.gather(*(self._ask(it) for it in ids))
        await self.replay.move_to(done_at)
        return await asyncio.gather(*(self._certificate(it) for it in cases))

    async def _certificate(self, case_id: str) -> erasure_pb2.ErasureCertificate:
        asked = privacy.GetErasureCertificateRequest(case_id=case_id)
        answer: privacy.GetErasureCertificateResponse = await self.backend.privacy.GetErasureCertificate(asked)
        self.folder.mkdir(exist_ok=True)
        (self.folder / f"{case_id}.json").write_text(json_format.MessageToJson(answer))
        return answer.certificate

    async def _look_everywhere(
        self, words: Words, certificates: Sequence[erasure_pb2.ErasureCertificate]
    ) -> tuple[Verdict, Found]:
        """Look for `words`, and for what `certificates` say is gone, while reading everything once."""
        hunts = [Hunt(words), hunt_of(certificates)]
        (left, nodes), elsewhere = await asyncio.gather(
            asyncio.to_thread(in_tables, hunts, tuple(self.stack.services), self._dsn_of),
            asyncio.to_thread(in_files, words, self.stack.state_dir),
        )
        return judge(certificates, nodes, self._dsn_of), left | elsewhere

    @property
    def _dsn_of(self) -> Any:
        return partial(self.stack.postgres.dsn, user="postgres")


def name_of(person: Person) -> str:
    return f"Canary {person.customer}"


def words_of(person: Person) -> Iterator[str]:
    """Everything that would tell who it was."""
    yield from (person.phone, person.union_id, person.anonymous_id(0), person.anonymous_id(1), name_of(person))


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that are not what they were, by their path such as "membership.members": what they were and what they are."""
    olds, news = dict(_leaves(before)), dict(_leaves(after))
    return {path: [olds.get(path), news.get(path)] for path in olds | news if olds.get(path) != news.get(path)}


def _leaves(found: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, it in found.items():
        if isinstance(it, Mapping):
            yield from _leaves(it, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", it


def _removed(certificates: Sequence[erasure_pb2.ErasureCertificate]) -> dict[str, dict[str, int]]:
    """Rows by service and table."""
    found: dict[str, dict[str, int]] = {}
    for service in (it for certificate in certificates for it in certificate.services):
        tables = found.setdefault(service.service, {})
        for table, rows in service.removed.items():
            tables[table] = tables.get(table, 0) + rows
    return found


def _counts(found: Found) -> dict[str, int]:
    return {where: len(words) for where, words in sorted(found.items())}
