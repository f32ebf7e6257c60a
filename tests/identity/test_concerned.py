"""Read models that look at the classes of events first: what they leave out would change nothing of theirs."""

import sys
from collections.abc import Iterator
from typing import Any, cast

import pytest
import sqlalchemy as sa

from chassis.builds import Projection
from chassis.log import Recorded
from services.identity.read_models.attribute_values import AttributeValuesProjection
from services.identity.read_models.contact_history import ContactHistoryProjection
from services.identity.read_models.customer_directory import CustomerDirectoryProjection
from services.identity.read_models.customer_guides import CustomerGuidesProjection
from services.identity.read_models.device_use import DeviceUseProjection
from services.identity.read_models.guide_boards import GuideBoardsProjection
from services.identity.read_models.identity_statistics import IdentityStatisticsProjection
from services.identity.read_models.organisation import OrganisationProjection
from services.identity.read_models.steward_queue import StewardQueueProjection
from tests.contracts.stored_events import load, path_of, service_of, states, stored_classes, version_of

PROJECTIONS = [
    AttributeValuesProjection(),
    ContactHistoryProjection(),
    CustomerDirectoryProjection(),
    CustomerGuidesProjection(),
    DeviceUseProjection(),
    GuideBoardsProjection(),
    IdentityStatisticsProjection(),
    OrganisationProjection(),
    StewardQueueProjection(),
]


class Touched(Exception):
    """Something was to be written."""


class Untouchable:
    """Rows that may neither be read nor written."""

    def __getattr__(self, name: str) -> Any:
        raise Touched(name)


class Everything:
    """All classes there are."""

    def __contains__(self, kind: object) -> bool:
        return True


def told() -> Iterator[Recorded]:
    """A bare and a full sample of every event of identity."""
    for topic, kind in stored_classes().items():
        if service_of(kind) == "identity":
            yield from (load(topic, it) for it in states(path_of(topic, version_of(kind))))


def touches(projection: Projection, recorded: Recorded) -> bool:
    try:
        projection.apply([recorded], cast(sa.Connection, Untouchable()))
    except Touched:
        return True
    return False


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda it: it.name)
def test_an_event_that_is_left_out_would_change_nothing(
    projection: Projection, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules[type(projection).__module__]
    concerned = cast(Any, module)._EVENTS
    monkeypatch.setattr(module, "_EVENTS", Everything())

    touched = {type(it.event) for it in told() if touches(projection, it)}

    assert touched <= concerned
    assert touched


@pytest.mark.parametrize("projection", PROJECTIONS, ids=lambda it: it.name)
def test_an_event_that_is_left_out_is_not_looked_at(projection: Projection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[type(projection).__module__], "_EVENTS", frozenset())

    assert not any(touches(projection, it) for it in told())
