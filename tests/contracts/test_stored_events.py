"""Guards of what services keep and what they tell: golden samples of stored events, and every event published or private."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from chassis import event_codec
from chassis.aggregate import Aggregate, InitialEvent, event
from chassis.log import UnreadableEventError
from tests.contracts import contracts
from tests.contracts.stored_events import (
    FOLDER,
    load,
    missing,
    path_of,
    publisher_of,
    samples,
    service_of,
    states,
    stored_classes,
    version_of,
)

CLASSES = stored_classes()
GOLDEN = sorted(FOLDER.glob("*.json"))
each_golden = pytest.mark.parametrize("path", GOLDEN, ids=[it.stem for it in GOLDEN])


def topic_of(path: Path) -> tuple[str, int]:
    topic, _, version = path.stem.rpartition(".v")
    return topic, int(version)


def test_every_stored_topic_and_version_has_a_golden_sample() -> None:
    assert missing(CLASSES) == [], "run `python -m tests.contracts.stored_events`"


def test_every_golden_sample_is_of_a_topic_that_is_still_known() -> None:
    assert [it.stem for it in GOLDEN if topic_of(it)[0] not in CLASSES] == []


@each_golden
def test_a_golden_sample_still_loads_with_every_field_it_should_have(path: Path) -> None:
    topic, _ = topic_of(path)
    for state in states(path):
        found = load(topic, state).event
        assert isinstance(found, CLASSES[topic])
        assert vars(found).keys() >= CLASSES[topic].__annotations__.keys()


@each_golden
def test_what_was_loaded_is_stored_again_as_it_was(path: Path) -> None:
    topic, version = topic_of(path)
    if version != version_of(CLASSES[topic]):
        pytest.skip("an older version is stored in its newer form")
    for state in states(path):
        fields = {k: v for k, v in vars(load(topic, state).event).items() if not k.startswith("originator_")}
        stored = {k: v for k, v in state.items() if k not in {"_context", "class_version"}}
        assert json.loads(event_codec.encode(fields)) == stored


@pytest.mark.parametrize("topic", sorted(CLASSES))
def test_every_event_is_either_published_or_listed_private(topic: str) -> None:
    event_class = CLASSES[topic]
    publish, private = publisher_of(service_of(event_class))
    assert verdict(event_class, publish) != (event_class in private)


def verdict(event_class: Any, publish: Any) -> bool:
    """Whether any sample of the event is told to others."""
    return any(publish(load(event_class.TOPIC, it)) for it in samples(event_class))


@pytest.mark.parametrize("service", contracts.SERVICES)
def test_the_private_list_names_stored_events_only(service: str) -> None:
    _, private = publisher_of(service)
    assert private <= set(CLASSES.values())


# The guards bite.


@dataclass(frozen=True)
class Blend:
    leaf: str
    grams: int | None


class Teapot(Aggregate):
    """An aggregate that nobody keeps: with it the guards are shown to bite."""

    TOPIC = "contracts.Teapot"

    class Brewed(InitialEvent):
        TOPIC = "contracts.TeapotBrewed"
        tenant: str
        blend: Blend

    @event(Brewed)
    def __init__(self, id: UUID, tenant: str, blend: Blend) -> None: ...


BREWED = {Teapot.Brewed.TOPIC: Teapot.Brewed}


def test_a_topic_without_a_golden_sample_is_found(tmp_path: Path) -> None:
    assert missing(BREWED, tmp_path) == ["contracts.TeapotBrewed v1"]
    path_of(Teapot.Brewed.TOPIC, 1, tmp_path).write_text("[]")
    assert missing(BREWED, tmp_path) == []


def test_a_field_that_changed_without_a_new_version_is_found() -> None:
    (state, _) = samples(Teapot.Brewed)
    load(Teapot.Brewed.TOPIC, state)
    renamed = {**state, "blend": {"leaves": "oolong", "grams": None}}
    with pytest.raises(TypeError):
        load(Teapot.Brewed.TOPIC, renamed)
    with pytest.raises(UnreadableEventError):
        load("contracts.TeapotEmptied", state)


def test_an_event_that_is_neither_published_nor_private_is_found() -> None:
    def publish(recorded: Any) -> Any:
        return None

    assert verdict(Teapot.Brewed, publish) == (Teapot.Brewed in frozenset[type]())
