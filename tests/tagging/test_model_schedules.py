"""Models that are run for everybody at once: their versions, their schedules, and whom their runs move (TG-0, TG-7)."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date

from chassis.due_times import Timer
from scrm.identity.v1 import events_pb2 as identity
from scrm.tagging.v1 import events_pb2 as events
from scrm.tagging.v1 import layer_pb2, model_pb2
from services.tagging.adapters.due_watch import DueWatch
from services.tagging.adapters.value_watch import value_watch
from services.tagging.application.model_schedules import MODEL_DUE, PassOverRun
from services.tagging.application.published_events import partition_key, publish
from services.tagging.domain.calendar import Calendar
from services.tagging.domain.errors import ModelParams
from services.tagging.domain.layers.view import NONE
from services.tagging.domain.model_schedules import MONTHLY, NIGHTLY, Every, Schedule
from services.tagging.domain.models import ModelRun, RfmModel, RunMoves
from services.tagging.domain.value_models import ValueModel, ValueRun
from tests.tagging.calling import Caller, Serve
from tests.tagging.world import START, World, created, merged, paid, person, refunded

DAY = timedelta(1)
NEW_YORK = Calendar.of("America/New_York")
WEEKLY = model_pb2.ModelSchedule(cadence=model_pb2.RUN_CADENCE_WEEKLY, weekday=1, time="04:30")
DAILY = model_pb2.ModelSchedule(cadence=model_pb2.RUN_CADENCE_DAILY, time="03:00")
MARCH = Date(year=2025, month=3, day=1)


def test_a_schedule_is_of_local_days_and_a_time_that_is_skipped_comes_later() -> None:
    assert NIGHTLY.due(NEW_YORK, date(2025, 1, 2)) == datetime(2025, 1, 2, 8, tzinfo=UTC)
    skipped = Schedule(Every.DAILY, minute=2 * 60 + 30)
    assert skipped.due(NEW_YORK, date(2025, 3, 9)) == datetime(2025, 3, 9, 7, 30, tzinfo=UTC)  # 03:30
    twice = Schedule(Every.DAILY, minute=90)
    assert twice.due(NEW_YORK, date(2025, 11, 2)) == datetime(2025, 11, 2, 5, 30, tzinfo=UTC)
    assert MONTHLY.after(date(2025, 12, 31)) == MONTHLY.after(date(2025, 12, 1)) == date(2026, 1, 1)
    monday = Schedule(Every.WEEKLY, weekday=1, minute=60)
    assert monday.after(date(2025, 3, 3)) == date(2025, 3, 10)
    assert monday.after(date(2025, 3, 2)) == date(2025, 3, 3)
    assert monday.first(NEW_YORK, datetime(2025, 3, 3, 5, 59, tzinfo=UTC)) == date(2025, 3, 3)
    assert monday.first(NEW_YORK, datetime(2025, 3, 3, 6, tzinfo=UTC)) == date(2025, 3, 10)


@pytest.mark.parametrize(
    ("schedule", "path"),
    [
        (Schedule(Every.WEEKLY), "schedule.weekday"),
        (Schedule(Every.DAILY, weekday=1), "schedule.weekday"),
        (Schedule(Every.MONTHLY, minute=1440), "schedule.time"),
    ],
)
def test_a_schedule_that_is_none_is_refused(schedule: Schedule, path: str) -> None:
    with pytest.raises(ModelParams) as caught:
        schedule.check()
    assert caught.value.metadata["path"] == path


def watching(world: World) -> DueWatch:
    return value_watch(world.bus, world.read_models, world.engine, world.clock)


async def work_off(watch: DueWatch) -> None:
    while await watch.step():
        pass


def dates(runs: Any) -> list[date]:
    return [date(it.as_of.year, it.as_of.month, it.as_of.day) for it in runs]


def buy(world: World, *who: int, at: datetime, cents: int = 1000) -> None:
    world.tell(*(paid(person(n), f"{n}/{at}", at, cents) for n in who))


def told(world: World) -> dict[str, tuple[str, str, str]]:
    """What the last run told: by customer, the two segments and the cause."""
    found: dict[str, tuple[str, str, str]] = {}
    for it in world.events(RunMoves.Happened):
        messages = publish(it)
        assert isinstance(messages, list)
        for one in messages:
            assert isinstance(one, events.LayerChanged)
            cause = layer_pb2.LayerCause.Name(one.cause).removeprefix("LAYER_CAUSE_")
            found[one.customer_id] = (one.from_layer, one.to_layer, cause)
        assert partition_key(it) in {person(n) for n in range(20)}
    return found


def test_an_rfm_model_has_versions_and_an_active_one_is_run_on_schedule(world: World, serve: Serve) -> None:
    buy(world, *range(10), at=START)

    async def check(caller: Caller) -> None:
        model = (await caller.call("DefineModel", model_id="rfm", window_days=365)).model
        assert (model.model_version, model.active, model.schedule) == (1, False, DAILY)
        assert model.params["window_days"] == 365
        changed = await caller.call("UpdateModel", model_id="rfm", params={"monetary": "GROSS"}, schedule=WEEKLY)
        assert (changed.rfm_model.model_version, changed.rfm_model.schedule) == (2, WEEKLY)
        watch = watching(world)
        world.at(START + 30 * DAY)
        assert not await watch.step()  # not active yet
        assert (await caller.call("ActivateModel", model_id="rfm")).rfm_model.active
        assert (await caller.call("ActivateModel", model_id="rfm")).rfm_model.active
        found = (await caller.call("GetModel", model_id="rfm")).rfm_model
        assert (found.model_version, found.window_days, found.params["monetary"]) == (2, 0, "GROSS")
        assert not await watch.step()
        world.at(datetime(2025, 3, 18, tzinfo=UTC))
        await work_off(watch)
        runs = (await caller.call("ListModelRuns", model_id="rfm")).runs
        assert dates(runs) == [date(2025, 3, 17), date(2025, 3, 10)]  # Mondays
        assert {it.model_version for it in runs} == {2}
        await caller.call("UpdateModel", model_id="rfm", params={"monetary": "GROSS"}, schedule=DAILY)
        world.at(datetime(2025, 3, 18, 19, tzinfo=UTC))
        await work_off(watch)
        runs = (await caller.call("ListModelRuns", model_id="rfm", page_size=1)).runs
        assert dates(runs) == [date(2025, 3, 19)]
        assert (runs[0].model_version, watch.done) == (2, 3)

    serve(check)
    names = [
        type(publish(it)).__name__
        for kind in ("Defined", "Updated", "Activated")
        for it in world.events(getattr(RfmModel, kind))
    ]
    assert names == ["ModelDefined", "ModelUpdated", "ModelActivated"]


def test_models_refuse_parameters_and_schedules_by_their_path(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        async def path(name: str, **fields: Any) -> tuple[str, str]:
            refused = await caller.refused(name, **fields)
            return refused.reason, refused.metadata["path"]

        pyramid = {"model_id": "pyramid", "kind": layer_pb2.MODEL_KIND_PYRAMID}
        sunday = model_pb2.ModelSchedule(cadence=model_pb2.RUN_CADENCE_MONTHLY, weekday=7)
        assert await path("DefineModel", model_id="rfm", params={"monetary": "X"}) == ("MODEL_PARAMS", "monetary")
        assert await path("DefineModel", model_id="rfm", schedule=sunday) == ("MODEL_PARAMS", "schedule.weekday")
        assert await path("DefineModel", **pyramid, schedule=DAILY) == ("MODEL_PARAMS", "schedule")
        await caller.call("DefineModel", **pyramid)
        assert await path("UpdateModel", model_id="pyramid", schedule=DAILY) == ("MODEL_PARAMS", "schedule")
        await caller.call("DefineModel", model_id="rfm", schedule=WEEKLY)
        await caller.call("DefineModel", model_id="rfm", schedule=WEEKLY)
        assert (await caller.refused("DefineModel", model_id="rfm", schedule=DAILY)).reason == "MODEL_EXISTS"
        assert await path("UpdateModel", model_id="rfm", params={"monetary": "X"}) == ("MODEL_PARAMS", "monetary")
        assert (await caller.refused("UpdateModel", model_id="none")).reason == "MODEL_NOT_FOUND"
        assert (await caller.refused("ActivateModel", model_id="none")).reason == "MODEL_NOT_FOUND"
        assert (await caller.call("GetModel", model_id="pyramid")).model.model_id == "pyramid"
        assert (await caller.refused("GetModel", tenant="globex", model_id="rfm")).reason == "MODEL_NOT_FOUND"

    serve(check)


def test_ac_97_a_run_tells_of_those_whom_it_moves_and_the_same_run_again_of_nobody(world: World, serve: Serve) -> None:
    for n in range(10):
        buy(world, *range(n, 10), at=START + n * DAY)
    world.at(START + 40 * DAY)

    async def check(caller: Caller) -> None:
        await caller.call("DefineModel", model_id="rfm")
        await caller.call("RunModel", model_id="rfm", as_of=MARCH)
        await caller.call("RunModel", model_id="rfm", as_of=Date(year=2025, month=2, day=5))
        assert told(world) == {}  # not active
        await caller.call("ActivateModel", model_id="rfm")
        await caller.call("RunModel", model_id="rfm", as_of=MARCH)
        assert told(world) == {}
        buy(world, 0, 11, at=START + 30 * DAY)
        later = Date(year=2025, month=3, day=5)
        first = (await caller.call("RunModel", model_id="rfm", as_of=later)).run
        moved = told(world)
        assert moved[str(person(11))] == (NONE, "NEW", "TIME")
        assert moved[str(person(0))][0] != moved[str(person(0))][1]
        rows = {it.customer_id: it for it in (await caller.call("ListRfmRows", run_id=first.run_id)).rows}
        for customer, (before, after, _) in moved.items():
            assert before != after == model_pb2.RfmSegment.Name(rows[customer].segment).removeprefix("RFM_SEGMENT_")
        asked = {"model_id": "rfm", "customer_id": str(person(11))}
        assert (await caller.call("GetLayer", **asked)).layer == "NEW"
        at = Timestamp(seconds=int((START + 29 * DAY).timestamp()))
        assert (await caller.call("GetLayer", **asked, at=at)).layer == NONE
        n = len(world.events(RunMoves.Happened))
        again = (await caller.call("RunModel", model_id="rfm", as_of=later)).run
        assert (again.population, again.cuts) == (first.population, first.cuts)
        await caller.call("RunModel", model_id="rfm", as_of=MARCH)  # of an earlier day: nobody is moved back
        assert len(world.events(RunMoves.Happened)) == n
        world.tell(created(person(1)), created(person(2)), merged(person(1), person(2)))
        await caller.call("RunModel", model_id="rfm", as_of=later)
        assert told(world)[str(person(2))][1:] == (NONE, "MERGE")
        params = {"recency_cuts": [1, 2, 3, 4], "frequency_cuts": [1, 2, 3, 4], "monetary_cuts": [1, 2, 3, 4]}
        await caller.call("UpdateModel", model_id="rfm", params=params)
        run = (await caller.call("RunModel", model_id="rfm", as_of=later)).run
        assert (run.model_version, list(run.cuts.recency_days)) == (2, [1, 2, 3, 4])
        assert told(world)[str(person(11))] == ("NEW", "PROMISING", "PARAMS")
        assert (await caller.call("GetLayer", **asked)).model_version == 2
        case = {"case_id": str(person("case")), "customer_id": str(person(11)), "node_ids": [str(person(11))]}
        world.tell(identity.CustomerErasing(**case))
        assert (await caller.refused("GetLayer", **asked)).reason == "CUSTOMER_ERASED"
        refused = await caller.refused("GetRfmCustomer", run_id=run.run_id, customer_id=str(person(11)))
        assert refused.reason == "CUSTOMER_ERASED"

    serve(check)


def test_gross_amounts_are_before_refunds_and_too_few_customers_are_said_to_be(world: World, serve: Serve) -> None:
    buy(world, 1, 2, at=START)
    world.tell(refunded(person(1), f"1/{START}", "r", START + DAY, 400))
    world.at(START + 40 * DAY)

    async def check(caller: Caller) -> None:
        for name, params, units in (("net", {}, 16), ("gross", {"monetary": "GROSS"}, 20)):
            await caller.call("DefineModel", model_id=name, params=params)
            run = (await caller.call("RunModel", model_id=name, as_of=MARCH)).run
            assert (run.population, run.net.units) == (2, units)

    serve(check)
    for it in world.events(ModelRun.Completed):
        message = publish(it)
        assert isinstance(message, events.ModelRunCompleted)
        assert message.insufficient_reason == model_pb2.INSUFFICIENT_REASON_TOO_FEW_CUSTOMERS


def test_a_run_that_cannot_be_made_is_passed_over_and_those_behind_it_are_made(world: World, serve: Serve) -> None:
    """The first is of a model that is not there, the second as of a day that has not begun where the brand is by now."""
    buy(world, *range(6), at=START)
    early = START + timedelta(hours=1)

    async def check(caller: Caller) -> None:
        await caller.call("DefineModel", model_id="value", kind=layer_pb2.MODEL_KIND_VALUE)
        await caller.call("DefineModel", model_id="rfm")
        await caller.call("ActivateModel", model_id="rfm")
        with world.engine.begin() as rows:
            rows.execute(_TIMER, {"key": "gone", "due": early, "as_of": '{"as_of": "2025-02-01"}'})
            rows.execute(
                sa.text("UPDATE timers SET due_at = :due, payload = :as_of WHERE key = 'value'"),
                {"due": early + DAY, "as_of": '{"as_of": "2030-02-01"}'},
            )
        world.at(START + 3 * DAY)
        watch = watching(world)
        await work_off(watch)
        assert [it.backlog for it in await watch.progress()] == [0]
        assert dates((await caller.call("ListModelRuns", model_id="rfm")).runs)[:1] == [date(2025, 2, 4)]
        assert not (await caller.call("ListModelRuns", model_id="value")).runs
        waiting = world.rows(f"SELECT key, payload ->> 'as_of' FROM timers WHERE kind = '{MODEL_DUE}' ORDER BY key")
        assert waiting == [("rfm", "2025-02-05"), ("value", "2030-02-01")]

    serve(check)


_TIMER = sa.text(
    f"INSERT INTO timers (tenant, kind, key, due_at, payload) VALUES ('acme', '{MODEL_DUE}', :key, :due, :as_of)"
)


def test_whatever_goes_wrong_with_a_timer_does_not_hold_up_those_behind_it(world: World, serve: Serve) -> None:
    done: list[str] = []

    async def work(timer: Timer) -> None:
        if timer.key == "bad":
            raise ZeroDivisionError
        done.append(timer.key)
        await pass_over(timer)

    async def pass_over(timer: Timer) -> None:
        await world.bus.execute(PassOverRun(timer.key, START.date()))

    async def check(caller: Caller) -> None:
        with world.engine.begin() as rows:
            for n, key in enumerate(("bad", "good")):
                rows.execute(_TIMER, {"key": key, "due": START + n * DAY, "as_of": "{}"})
        world.clock.set(START + 3 * DAY)
        watch = DueWatch("valuations", MODEL_DUE, work, pass_over, world.engine, world.clock)
        await work_off(watch)
        assert (done, watch.done) == (["good"], 2)

    serve(check)


def test_a_refusal_is_the_answer_of_the_request_whatever_happens_later(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        asked: dict[str, Any] = {"model_id": "rfm", "as_of": MARCH, "request_id": str(uuid4())}
        assert (await caller.refused("RunModel", **asked)).reason == "MODEL_NOT_FOUND"
        await caller.call("DefineModel", model_id="rfm")
        assert (await caller.refused("RunModel", **asked)).reason == "MODEL_NOT_FOUND"
        ahead = {"model_id": "rfm", "as_of": Date(year=2025, month=6, day=1), "request_id": str(uuid4())}
        assert (await caller.refused("RunModel", **ahead)).reason == "AS_OF_IN_FUTURE"
        caller.world.clock.set(datetime(2025, 7, 1, tzinfo=UTC))
        assert (await caller.refused("RunModel", **ahead)).reason == "AS_OF_IN_FUTURE"
        reused = await caller.refused("RunModel", **{**ahead, "model_id": "other"})
        assert reused.reason == "REQUEST_ID_REUSED"
        assert (await caller.call("RunModel", **{**ahead, "request_id": str(uuid4())})).run.model_id == "rfm"

    serve(check)


def test_a_model_of_value_is_changed_and_told_of_as_others_are(world: World, serve: Serve) -> None:
    buy(world, 1, at=START)

    async def check(caller: Caller) -> None:
        await caller.call("DefineModel", model_id="value", kind=layer_pb2.MODEL_KIND_VALUE)
        changed = await caller.call("UpdateModel", model_id="value", params={"margin": 0.3}, schedule=DAILY)
        assert (changed.value_model.model_version, changed.value_model.schedule) == (2, DAILY)
        assert (await caller.call("ActivateModel", model_id="value")).value_model == changed.value_model
        world.at(START + 2 * DAY)
        await work_off(watching(world))
        runs = (await caller.call("ListModelRuns", model_id="value")).runs
        assert dates(runs) == [date(2025, 2, 3), date(2025, 2, 2)]

    serve(check)
    message = publish(world.events(ValueRun.Completed)[0])
    assert isinstance(message, events.ModelRunCompleted)
    assert message.insufficient_reason == model_pb2.INSUFFICIENT_REASON_TOO_FEW_REPEATERS
    (updated,) = world.events(ValueModel.Updated)
    assert publish(updated) == events.ModelUpdated(
        model_id="value", version=2, params_json='{"horizon_weeks":52,"margin":0.3,"yearly_discount":0.1}'
    )
