"""Models of layers over facts: kept up to date by facts, merges and the clock, run for any date, made into audiences."""

import asyncio
from datetime import date, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID, uuid5

import pytest
import sqlalchemy as sa

from chassis.context import Context, entered
from scrm.identity.v1 import events_pb2 as identity
from scrm.tagging.v1 import events_pb2 as tagging
from scrm.tracking.v1 import events_pb2 as tracking
from services.tagging.adapters import layer_snapshots as snapshots
from services.tagging.application.layer_commands import (
    ActivateModel,
    DefineLayerModel,
    SelectLayerCell,
    UpdateModel,
)
from services.tagging.application.published_events import partition_key, publish
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import InLayer, Universe, that
from services.tagging.domain.errors import LayerNotFound, ModelExists, ModelNotFound, ModelParams, UnknownTimeZone
from services.tagging.domain.layer_models import CustomerLayers, LayerModel, LayerRun
from services.tagging.domain.layers.kinds import KINDS, Kind, state
from services.tagging.domain.layers.view import NONE
from services.tagging.domain.segments import Definition
from services.tagging.read_models import bitmaps, directory
from tests.tagging.world import (
    START,
    TENANT,
    ZONE,
    World,
    behaved,
    created,
    merged,
    paid,
    person,
    refunded,
    unmerged,
)

ANN, BOB, CLEO = person("ann"), person("bob"), person("cleo")
CALENDAR = Calendar.of(ZONE)
DAY = timedelta(1)


def defined(
    world: World, kind: Kind = Kind.PYRAMID, universe: Universe = Universe.KNOWN, **params: object
) -> LayerModel:
    result: LayerModel = world.do(DefineLayerModel(kind.lower(), kind, universe, params))
    return result


def active(world: World, kind: Kind = Kind.PYRAMID, universe: Universe = Universe.KNOWN, **params: object) -> None:
    defined(world, kind, universe, **params)
    world.do(ActivateModel(kind.lower()))
    world.fire()


def current(world: World, model: str = "pyramid") -> dict[UUID, str]:
    """Where customers are, by the table, which the bitmaps have to agree with."""
    rows = world.rows(f"SELECT customer, layer FROM current_layers WHERE model = '{model}'")
    found = {customer: layer for customer, layer in rows if layer != NONE}
    for layer in set(found.values()):
        assert set_of(world, bitmaps.of_layer(model, layer)) == {who for who, it in found.items() if it == layer}
    return found


def set_of(world: World, name: str) -> set[UUID]:
    with world.engine.connect() as rows:
        return {it.id for it in directory.by_ordinal(rows, TENANT, bitmaps.load(rows, TENANT, (name,))[name])}


def moves(world: World) -> list[tuple[UUID, str, str, str]]:
    found = [it.event for it in world.events(CustomerLayers.LayerChanged)]
    return [
        (it.customer, it.before, it.after, it.cause.value)
        for it in found
        if isinstance(it, CustomerLayers.LayerChanged)
    ]


def run(world: World, model: LayerModel, as_of: date) -> tuple[UUID, LayerRun]:
    with world.engine.connect() as rows:
        (dated,) = snapshots.decided(rows, TENANT, model, CALENDAR, (as_of,))
    result: tuple[UUID, LayerRun] = world.do(snapshots.to_keep(model, dated, ZONE))
    return result


def test_facts_move_customers_at_once_and_the_clock_moves_them_later(world: World) -> None:
    world.tell(created(ANN), created(BOB), created(CLEO, known=False), paid(BOB, "b", START, 100))
    active(world)
    assert current(world) == {BOB: "L3"}
    assert moves(world) == []  # putting everybody into the first layer is no move
    world.at(START + DAY)
    world.tell(behaved(ANN, START), behaved(CLEO, START), paid(BOB, "b2", START + DAY, 100))
    assert current(world) == {ANN: "L1", BOB: "L4"}
    assert sorted(moves(world)) == sorted([(ANN, NONE, "L1", "EVENT"), (BOB, "L3", "L4", "EVENT")])
    world.at(CALENDAR.midnight(CALENDAR.day(START) + 365) - timedelta(seconds=1))
    assert current(world) == {ANN: "L1", BOB: "L4"}
    world.at(CALENDAR.midnight(CALENDAR.day(START) + 366))
    assert current(world) == {ANN: "OUT", BOB: "LAPSED"}
    assert {it[1:] for it in moves(world)[2:]} == {("L1", "OUT", "TIME"), ("L4", "LAPSED", "TIME")}
    assert world.rebuild() == {}


def test_ac_53_the_report_of_a_competitor_ends_by_timer(world: World) -> None:
    world.tell(created(ANN), *(paid(ANN, n, START - n * DAY, 100) for n in range(3)))
    world.tell(behaved(ANN, START, kind="competitor_purchase_reported"))
    active(world)
    assert current(world) == {ANN: "L4"}
    world.tell(paid(ANN, "later", START + 200 * DAY, 100))
    world.at(START + 364 * DAY)
    assert current(world) == {ANN: "L4"}
    world.at(START + 366 * DAY)
    assert current(world) == {ANN: "L5"}


def test_a_refund_in_full_takes_the_first_purchase_back(world: World) -> None:
    active(world)
    world.tell(created(ANN), paid(ANN, "o", START, 100))
    assert current(world) == {ANN: "L3"}
    world.tell(refunded(ANN, "o", "r", START + DAY, 100))
    assert current(world) == {}
    assert moves(world)[-1][1:] == ("L3", NONE, "EVENT")


def test_merges_are_of_the_union_and_come_apart_again(world: World) -> None:
    active(world)
    world.tell(created(ANN), created(BOB), paid(ANN, "a", START, 100), paid(BOB, "b", START - DAY, 100))
    assert current(world) == {ANN: "L3", BOB: "L3"}
    world.tell(merged(ANN, BOB))
    assert current(world) == {ANN: "L4"}
    world.tell(unmerged(ANN, BOB))
    assert current(world) == {ANN: "L3", BOB: "L3"}
    assert {it[3] for it in moves(world)[2:]} == {"MERGE"}
    assert world.rebuild() == {}


def test_whoever_is_erased_is_in_no_layer(world: World) -> None:
    active(world)
    world.tell(created(ANN), created(BOB), paid(ANN, "a", START, 100), paid(BOB, "b", START, 100))
    case = identity.CustomerErasing(case_id=str(uuid5(ANN, "case")), customer_id=str(ANN), node_ids=[str(ANN)])
    world.tell(case)
    assert current(world) == {BOB: "L3"}
    assert moves(world)[-1] == (ANN, "L3", NONE, "ERASURE")
    assert world.rows("SELECT count(*) FROM timers WHERE kind = 'review_layer'") == [(1,)]
    world.tell(paid(ANN, "late", START, 100))
    assert current(world) == {BOB: "L3"}
    assert world.rebuild() == {}


def test_other_parameters_are_another_version_for_everybody(world: World) -> None:
    active(world)
    world.tell(created(ANN), *(paid(ANN, n, START - n * DAY, 100) for n in range(3)))
    model = world.do(UpdateModel("pyramid", {"loyal_occasions": 4}))
    world.fire()
    assert (model.model_version, current(world)) == (2, {ANN: "L4"})
    assert moves(world)[-1] == (ANN, "L5", "L4", "PARAMS")
    assert world.do(UpdateModel("pyramid", {"loyal_occasions": 4})).model_version == 2
    assert world.rebuild() == {}


def test_a_model_is_what_it_was_defined_as(world: World) -> None:
    assert defined(world).model_version == defined(world, lapsed_days=365).model_version == 1
    with pytest.raises(ModelExists):
        defined(world, lapsed_days=100)
    with pytest.raises(ModelParams):
        defined(world, Kind.AIPL, contact_days=0)
    with pytest.raises(ModelNotFound):
        world.do(ActivateModel("aipl"))


def test_intent_that_becomes_high_is_one_lead(world: World) -> None:
    active(world, Kind.INTENT)
    world.at(START + timedelta(hours=1))
    at = (START + timedelta(minutes=n) for n in range(9))
    world.tell(created(ANN), *(behaved(ANN, next(at), kind=it) for it in ("checkout_started", "cart_added")))
    world.tell(*(behaved(ANN, next(at), kind=it) for it in ("favourite_added", "cart_added")))
    world.at(START + DAY)
    (lead,) = world.events(CustomerLayers.LeadQualified)
    message = publish(lead)
    assert isinstance(message, tagging.LeadQualified)
    assert (message.score, list(message.evidence)) == (50, ["checkout_started", "cart_added"])
    assert current(world, "intent") == {ANN: "HIGH"}
    assert world.rebuild() == {}


def acts(who: UUID, at: datetime, *kinds: str, **properties: Any) -> list[tracking.BehaviourTracked]:
    """One behaviour a second."""
    return [behaved(who, at + timedelta(seconds=n), kind=it, **properties) for n, it in enumerate(kinds)]


def bands(world: World) -> list[tuple[str, str, str, float, str]]:
    """What was told of scores that changed: category, the two bands, the score and the cause."""
    found = [it.event for it in world.events(CustomerLayers.ScoreChanged)]
    return [
        (it.category, it.before, it.after, round(it.score, 2), it.cause.value)
        for it in found
        if isinstance(it, CustomerLayers.ScoreChanged)
    ]


def test_the_score_of_each_category_is_told_when_its_band_changes_by_facts_and_by_the_clock(world: World) -> None:
    world.tell(created(ANN), behaved(ANN, START, kind="cart_added", category="serum"))
    active(world, Kind.INTENT)
    assert bands(world) == []  # nobody is told of the bands that everybody is put into first
    world.at(START + timedelta(hours=1))
    at = START + timedelta(minutes=9)
    world.tell(*acts(ANN, at, "checkout_started", "cart_added", category="cream"))
    assert bands(world) == [("cream", NONE, "HIGH", 50, "EVENT")]
    world.tell(*acts(ANN, at + timedelta(minutes=5), "favourite_added", category="cream"))
    assert len(bands(world)) == 1  # higher, but in the same band
    (told,) = world.events(CustomerLayers.ScoreChanged)
    message = publish(told)
    assert isinstance(message, tagging.ScoreChanged)
    assert (message.customer_id, message.model_id, message.from_band, message.to_band) == (
        str(ANN),
        "intent",
        NONE,
        "HIGH",
    )
    assert partition_key(told) == ANN
    for day in (1, 2, 3):
        world.at(START + day * DAY)
    faded = [it[:3] for it in bands(world)[1:]]
    assert faded == [("serum", "MEDIUM", "LOW"), ("cream", "HIGH", "MEDIUM")]
    assert {it[4] for it in bands(world)[1:]} == {"TIME"}
    assert world.rebuild() == {}
    world.at(START + 100 * DAY)
    ended = [it[:3] for it in bands(world)[3:]]
    assert ended == [("cream", "MEDIUM", NONE), ("serum", "LOW", NONE)]
    assert world.rebuild() == {}


def test_bands_follow_merges_other_parameters_and_erasure(world: World) -> None:
    active(world, Kind.INTENT)
    world.at(START + timedelta(hours=1))
    for who in (ANN, BOB):
        world.tell(created(who), *acts(who, START, "consult_started", "favourite_added"))
    assert bands(world) == [("", NONE, "MEDIUM", 25, "EVENT")] * 2
    world.tell(merged(ANN, BOB))
    assert sorted(bands(world)[2:]) == [("", "MEDIUM", "HIGH", 50, "MERGE"), ("", "MEDIUM", NONE, 0, "MERGE")]
    world.do(UpdateModel("intent", {"high": 60}))
    world.fire()
    assert bands(world)[4:] == [("", "HIGH", "MEDIUM", 50, "PARAMS")]
    world.tell(
        identity.CustomerErasing(case_id=str(person("case")), customer_id=str(ANN), node_ids=[str(ANN), str(BOB)])
    )
    assert bands(world)[5:] == [("", "MEDIUM", NONE, 0, "ERASURE")]


def test_bands_that_nobody_had_kept_are_no_change(world: World) -> None:
    """As after an upgrade: the state of a customer is older than the bands."""
    active(world, Kind.INTENT)
    world.at(START + timedelta(hours=1))
    world.tell(created(ANN), behaved(ANN, START, kind="cart_added"))
    with world.engine.begin() as rows:
        rows.execute(sa.text("UPDATE current_layers SET bands = NULL"))
    world.tell(behaved(ANN, START + timedelta(minutes=1), kind="consult_started"))
    assert len(bands(world)) == 1
    world.tell(behaved(ANN, START + timedelta(minutes=2), kind="consult_started"))
    assert bands(world)[1:] == [("", "MEDIUM", "HIGH", 50, "EVENT")]


def test_nothing_is_done_while_no_model_is_active(world: World) -> None:
    defined(world)
    world.tell(created(ANN), paid(ANN, "a", START, 100))
    assert world.rows("SELECT count(*) FROM current_layers") == world.rows("SELECT 0")
    assert world.events(CustomerLayers.Opened) == []


def trade(world: World, random: Random, customers: int = 40) -> None:
    """A year of purchases and behaviours."""
    for n in range(customers):
        who = person(n)
        world.tell(
            created(who),
            *(
                behaved(who, START + random.uniform(0, 365) * DAY, kind="cart_added")
                for _ in range(random.randint(0, 3))
            ),
            *(paid(who, f"{n}/{k}", START + random.uniform(0, 365) * DAY, 100) for k in range(random.randint(0, 4))),
        )


def test_ac_97_the_same_run_twice_is_the_same(world: World) -> None:
    world.clock.set(START + 400 * DAY)
    trade(world, Random(1))
    active(world)
    model, before = defined(world, Kind.SICAS), len(moves(world))
    (first, run_of_it), (second, again) = [run(world, model, date(2025, 9, 1)) for _ in range(2)]
    assert run_of_it.counts == again.counts
    assert (run_of_it.params_hash, run_of_it.input_position) == (again.params_hash, again.input_position)
    rows = "SELECT layer, members FROM run_layers WHERE run = '{}' ORDER BY layer"
    assert world.rows(rows.format(first)) == world.rows(rows.format(second)) != []
    assert sum(n for layer, n in again.counts.items() if not layer.startswith("+")) == again.population > 0
    assert len(moves(world)) == before == 0


class Counted:
    """Read models, and how often they were asked."""

    def __init__(self, world: World) -> None:
        self.asked = 0
        self._read_models = world.read_models

    async def query(self, ask: Any) -> Any:
        self.asked += 1
        return await self._read_models.query(ask)


def test_runs_that_are_asked_for_together_share_a_reading(world: World) -> None:
    """Each is what it would be alone; a reading that fails does so for whoever waits for it, and for nobody later."""
    world.clock.set(START + 400 * DAY)
    trade(world, Random(2))
    model, reading = defined(world, Kind.PYRAMID), Counted(world)
    days = [date(2025, 7, 1), date(2025, 10, 1), date(2026, 1, 1), date(2025, 10, 1)]
    deciding = snapshots.Deciding(reading)  # type: ignore[arg-type]

    async def together(zone: str) -> list[Any]:
        with entered(Context.system(TENANT, "test")):
            asked = (deciding.decided(model, zone, it) for it in days)
            return await asyncio.gather(*asked, return_exceptions=True)

    assert {type(it) for it in asyncio.run(together("Nowhere/Land"))} == {UnknownTimeZone}
    found = asyncio.run(together(ZONE))
    assert reading.asked == 1
    assert [it.as_of for it in found] == days
    with world.engine.connect() as rows:
        alone = [snapshots.decided(rows, TENANT, model, CALENDAR, (it,))[0] for it in days]
    assert found == alone
    assert len({str(it.members) for it in found}) > 1


def test_ac_98_rows_and_columns_sum_to_the_counts_for_any_dates(world: World) -> None:
    random = Random(2)
    world.clock.set(START + 400 * DAY)
    trade(world, random)
    for kind in (Kind.PYRAMID, Kind.AIPL):
        model = defined(world, kind)
        days = [date(2025, 2, 2) + timedelta(random.randint(0, 395)) for _ in range(8)]
        with world.engine.connect() as rows:
            dated = {it.as_of: it for it in snapshots.decided(rows, TENANT, model, CALENDAR, days)}
        pairs = [sorted(random.sample(sorted(dated), 2)) for _ in range(20)]
        for start, end in pairs:
            report = snapshots.Report.of(model, dated[start], dated[end]).moves
            for row in report.rows:
                assert sum(row.to.values()) == row.customers == report.before[row.layer]
            for layer in report.layers:
                assert sum(row.to.get(layer, 0) for row in report.rows) == report.after[layer]


def test_every_cell_of_a_matrix_is_an_audience_of_its_size(world: World) -> None:
    world.clock.set(START + 400 * DAY)
    trade(world, Random(3))
    model = defined(world)
    start, end = date(2025, 5, 1), date(2026, 2, 1)
    with world.engine.connect() as rows:
        before, after = snapshots.decided(rows, TENANT, model, CALENDAR, (start, end))
    report = snapshots.Report.of(model, before, after).moves
    runs = [world.do(snapshots.to_keep(model, it, ZONE))[0] for it in (before, after)]
    cells = {(row.layer, to): n for row in report.rows for to, n in row.to.items()}
    assert len(cells) > 8
    assert any(it[0] == NONE for it in cells)
    for (old, new), n in cells.items():
        result = world.do(SelectLayerCell(f"{old} to {new}", "pyramid", runs, (old, new)))
        assert result.size == len(world.members(result.id)) == n
    with pytest.raises(LayerNotFound):
        world.do(SelectLayerCell("nobody", "pyramid", runs, (NONE, NONE)))
    with pytest.raises(LayerNotFound):
        world.do(SelectLayerCell("no such", "pyramid", runs, ("L3", "L9")))


def test_a_condition_can_ask_for_the_layer_of_an_active_model(world: World) -> None:
    active(world)
    segment = world.define("loyal", Definition(condition=that(InLayer("pyramid", "L3"))))
    nowhere = world.define("nowhere", Definition(condition=that(InLayer("pyramid", NONE))))
    world.tell(created(ANN), created(BOB), paid(ANN, "a", START, 100))
    assert (world.members(segment), world.members(nowhere)) == ({ANN}, {BOB})
    world.at(START + 366 * DAY)
    assert (world.members(segment), world.members(nowhere)) == (set(), {BOB})
    assert world.rebuild() == {}


@pytest.mark.parametrize("seed", range(2))
def test_live_layers_are_those_of_the_whole_history_at_any_instant(world: World, seed: int) -> None:
    """Facts in any order and batches, merges among them, and the clock between."""
    random = Random(seed)
    kinds = [Kind.PYRAMID, Kind.AIPL, Kind.ACTIVITY, Kind.LIFECYCLE, Kind.PATH]
    for kind in kinds:
        active(world, kind, Universe.ALL)
    people = [person(n) for n in range(5)]
    now = START + 300 * DAY
    world.at(now)
    world.tell(*(created(it) for it in people))
    for step in range(12):
        facts = [
            behaved(
                random.choice(people), now - random.uniform(0, 200) * DAY, kind=random.choice(["checkin", "cart_added"])
            )
            for _ in range(3)
        ]
        world.tell(*facts, paid(random.choice(people), step, now - random.uniform(0, 300) * DAY, 100))
        if step == 5:
            world.tell(merged(people[0], people[1]))
        if step == 9:
            world.tell(unmerged(people[0], people[1]))
        now += random.uniform(0, 60) * DAY
        world.at(now)
        with world.engine.connect() as rows:
            customers = {it.id for it in directory.canonical(rows, TENANT, people).values()}
        for kind in kinds:
            expected = {it: state(kind, world.history(it), KINDS[kind].params(), CALENDAR, now) for it in customers}
            assert current(world, kind.lower()) == {it: layer for it, layer in expected.items() if layer != NONE}
    assert world.rebuild() == {}
