"""Callers bound to stores: what their token says, and what they may see."""

import asyncio
from uuid import UUID

import pytest

from chassis.context import Context
from chassis.credentials import InvalidToken, KeySet, Verifier
from chassis.errors import StoreScope
from deploy.local.credentials import Credentials
from tests.chassis.test_credentials import signed

HERE, THERE = UUID(int=1), UUID(int=2)  # the same in every process that runs tests


@pytest.fixture
def verifier(credentials: Credentials, loop: asyncio.AbstractEventLoop) -> Verifier:
    return Verifier(loop.run_until_complete(KeySet.opened(str(credentials.jwks))), "scrm-local")


@pytest.mark.parametrize("stores", [None, [], [HERE], [HERE, THERE]])
def test_a_token_says_to_which_stores_its_caller_is_bound(
    verifier: Verifier, credentials: Credentials, stores: list[UUID] | None
) -> None:
    caller = verifier.verify(f"Bearer {credentials.mint('acme', ['a.read'], stores=stores)}")
    assert caller.stores == (None if stores is None else frozenset(stores))


@pytest.mark.parametrize("claim", ["", str(HERE), {}, [7], ["S1"], [[str(HERE)]], False])
def test_a_token_whose_stores_cannot_be_read_is_refused(
    verifier: Verifier, credentials: Credentials, claim: object
) -> None:
    with pytest.raises(InvalidToken):
        verifier.verify(f"Bearer {signed(credentials, stores=claim)}")


def test_a_caller_bound_to_no_store_sees_all() -> None:
    context = Context("acme", "developer")
    context.require_store(HERE)
    context.require_store(None)


def test_a_caller_bound_to_stores_sees_theirs_only_and_does_not_learn_what_exists() -> None:
    context = Context("acme", "guide", stores=frozenset({HERE}))
    context.require_store(HERE)
    for elsewhere in (THERE, None):
        with pytest.raises(StoreScope) as refusal:
            context.require_store(elsewhere)
        assert (refusal.value.code, refusal.value.reason) == ("PERMISSION_DENIED", "STORE_SCOPE")
        assert refusal.value.metadata == {}


def test_a_caller_bound_to_an_empty_list_of_stores_sees_nothing() -> None:
    with pytest.raises(StoreScope):
        Context("acme", "guide", stores=frozenset()).require_store(HERE)
