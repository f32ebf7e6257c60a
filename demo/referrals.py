"""The codes that customers hand to their friends, told through the API, and what came of them."""

from collections.abc import Sequence
from typing import Any, Final

from demo.backend import Backend, request_id
from demo.buyers import referral_code
from demo.calendar import instant
from demo.people import BINDING, SHOP, Person
from demo.report import Section
from demo.wire import timestamp
from scrm.identity.v1 import attribute_pb2, customer_pb2
from scrm.identity.v1 import identity_service_pb2 as identity
from scrm.tagging.v1 import tagging_service_pb2 as tagging

_CODE: Final = "referral_code"
_AT_ONCE: Final = 500


class CodeRefused(RuntimeError):
    """A customer could not be found, or given a code."""


async def give_codes(backend: Backend, people: Sequence[Person]) -> None:
    """Say which code each of `people` has had since the first login. Of all others nobody would ever name the code."""
    definition = attribute_pb2.AttributeDefinition(
        key=_CODE, type=attribute_pb2.ATTRIBUTE_TYPE_TEXT, merge_policy=attribute_pb2.MERGE_POLICY_NEWEST
    )
    await backend.identity.DefineAttribute(
        identity.DefineAttributeRequest(request_id=request_id("referral code"), definition=definition)
    )
    for start in range(0, len(people), _AT_ONCE):
        some = people[start : start + _AT_ONCE]
        found = await backend.identity.BatchResolve(
            identity.BatchResolveRequest(request_id=request_id("sharers", start), items=map(_item, some))
        )
        _require(found.results)
        said = [_said(it.customer_id, person) for it, person in zip(found.results, some, strict=True)]
        kept = await backend.identity.BatchUpsertAttributes(
            identity.BatchUpsertAttributesRequest(request_id=request_id("codes", start), items=said)
        )
        _require(kept.results)


async def referrals(backend: Backend) -> Section:
    """How many tell others of the shop, and how many of these come and buy."""
    found = await backend.tagging.GetReferralStatistics(tagging.GetReferralStatisticsRequest())
    return {
        "holders": found.holders,
        "sharers": found.sharers,
        "named": found.named,
        "invited": found.invited,
        "converted": found.converted,
        "conversion_rate": found.conversion_rate if found.HasField("conversion_rate") else None,
        "referrers": found.referrers,
        "referrers_by_successes": {str(it.successes): it.customers for it in found.referrers_by_successes},
    }


def _item(person: Person) -> identity.ResolveItem:
    account = customer_pb2.Identifier(namespace="external_id", scope=SHOP, value=person.customer, verified=True)
    return identity.ResolveItem(identifiers=[account], create_if_missing=False)


def _said(customer_id: str, person: Person) -> identity.UpsertAttributesItem:
    code = attribute_pb2.AttributeObservation(
        key=_CODE,
        value=attribute_pb2.AttributeValue(text=referral_code(person)),
        source=attribute_pb2.ATTRIBUTE_SOURCE_IMPORT,
        observe_time=timestamp(instant(person.first_day, BINDING)),
    )
    return identity.UpsertAttributesItem(customer_id=customer_id, values=[code])


def _require(results: Sequence[Any]) -> None:
    """Raises CodeRefused."""
    for it in results:
        if it.status.code:
            raise CodeRefused(it.status.message or str(it.status.code))
