"""The reasons a service can give are exactly those its contract lists, beside the common ones."""

import importlib
import inspect
from types import ModuleType
from typing import Any

import pytest

from chassis import credentials, errors, status
from chassis.errors import DomainError
from tests.contracts import contracts

PREFIX = "ERROR_REASON_"


def raised_by(module: ModuleType) -> set[str]:
    """The reasons of the errors a module defines."""
    kinds = [it for _, it in inspect.getmembers(module, inspect.isclass) if it.__module__ == module.__name__]
    return {it.reason for it in kinds if issubclass(it, DomainError) and not inspect.isabstract(it)}


COMMON = set[str]().union(*(raised_by(it) for it in (errors, status, credentials)))


def listed_in(enum: Any) -> set[str]:
    return {name.removeprefix(PREFIX) for name in enum.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 (of protobuf)


def difference(listed: set[str], raised: set[str]) -> set[str]:
    """The reasons that are in one of both only; a contract need not list the common ones."""
    return (listed ^ raised) - COMMON


@pytest.mark.parametrize("service", contracts.SERVICES)
def test_the_contract_lists_what_the_domain_raises(service: str) -> None:
    enum = importlib.import_module(f"scrm.{service}.v1.error_reason_pb2").ErrorReason
    module = importlib.import_module(f"services.{service}.domain.errors")
    assert difference(listed_in(enum), raised_by(module)) == set()


def test_a_reason_on_one_side_only_is_found() -> None:
    assert difference({"NAME_TAKEN", "VERSION_CONFLICT"}, {"NAME_TAKEN", "OUT_OF_TEA"}) == {"OUT_OF_TEA"}
    assert difference({"NAME_TAKEN", "OUT_OF_TEA"}, {"NAME_TAKEN"}) == {"OUT_OF_TEA"}
