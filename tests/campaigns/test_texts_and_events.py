"""Rendering of texts, and what other services are told."""

import pytest

from scrm.campaigns.v1 import events_pb2 as pb
from services.campaigns.application.published_events import PRIVATE, partition_key, publish
from services.campaigns.domain.errors import TemplateMalformed
from services.campaigns.domain.templates import VariableMissing, check, render
from tests.campaigns.world import START, World, customer, people


@pytest.mark.parametrize(
    ("text", "values", "rendered"),
    [
        ("Hi {{name|friend}}", {}, "Hi friend"),  # AC-121
        ("Hi {{name|friend}}", {"name": "Ann"}, "Hi Ann"),
        ("Hi {{ name | dear friend }}!", {}, "Hi  dear friend !"),
        ("no variable", {}, "no variable"),
        ("{{a|1}}{{b|2}}", {"b": "{{a}}"}, "1{{a}}"),
    ],
)
def test_a_variable_takes_its_value_or_its_fallback(text: str, values: dict[str, str], rendered: str) -> None:
    assert render(text, values) == rendered


@pytest.mark.parametrize("text", ["{{name}}", "{{name|}}"])
def test_a_variable_without_value_and_fallback_is_named(text: str) -> None:  # AC-121
    with pytest.raises(VariableMissing) as missing:
        render(text, {"name": ""})
    assert missing.value.variable == "name"


@pytest.mark.parametrize("text", ["{{", "}}", "{{Name}}", "{{na me}}", "{{a|b|}c}}", "{{a{{b}}"])
def test_braces_that_form_no_variable_are_refused(text: str) -> None:
    with pytest.raises(TemplateMalformed):
        check(text, field="message.text")


def test_others_are_told_of_the_start_each_message_the_end_and_conversions(memory_world: World) -> None:
    world = memory_world
    id = world.dispatched()
    key = next(key for unit, key in people(200) if any(it.unit == unit for it in world.provider.calls))
    world.tell(world.paid(key, "o", START, net="12.34"))
    world.settle()
    told = [it for recorded in world.recorded() for it in _listed(publish(recorded))]
    kinds = [type(it) for it in told]
    broadcast = world.broadcast(id)
    [start] = [it for it in told if isinstance(it, pb.BroadcastStarted)]
    assert (start.targeted, start.experiment_id, dict(start.assigned)) == (200, "winback-9801", broadcast.counts)
    sent = [it for it in told if isinstance(it, pb.DeliverySent)]
    assert {(it.delivery_id, it.arm) for it in sent} == {(str(it.delivery), it.arm) for it in world.provider.calls}
    assert kinds.count(pb.BroadcastCompleted) == 1
    [conversion] = [it for it in told if isinstance(it, pb.ConversionRecorded)]
    assert (conversion.customer_id, conversion.order_id) == (str(customer(key)), str(customer("o")))
    assert (conversion.net.units, conversion.net.nanos, conversion.net.currency_code) == (12, 340_000_000, "USD")
    assert kinds.index(pb.BroadcastStarted) < kinds.index(pb.DeliverySent)


def test_every_kind_of_event_is_private_or_published(memory_world: World) -> None:
    memory_world.dispatched()
    for recorded in memory_world.recorded():
        told = _listed(publish(recorded))
        assert (type(recorded.event) in PRIVATE) != bool(told)
        assert partition_key(recorded)


def _listed(published: object) -> list[object]:
    if published is None:
        return []
    return list(published) if isinstance(published, list) else [published]
