"""Alerts on the customers a brand has (spec TG-17): what is worse beyond chance raises them, once for a period, with who made it so."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from scrm.tagging.v1 import analysis_pb2
from scrm.tagging.v1 import events_pb2 as tagging
from services.tagging.application.alert_commands import ArchiveAssetAlert, DefineAssetAlert
from services.tagging.application.layer_commands import DefineLayerModel
from services.tagging.application.published_events import publish
from services.tagging.domain.asset_alerts import AlertReading, AlertTerms, AssetAlert, Comparison, Metric, judged
from services.tagging.domain.conditions import Universe
from services.tagging.domain.errors import AlertIsArchived, AlertNotFound, LayerNotFound, MalformedAlert, ModelNotFound
from services.tagging.domain.layers.kinds import KINDS, Kind
from services.tagging.domain.periods import Period, Span, a_year_before, following, last_whole, previous
from services.tagging.domain.proportions import Part
from tests.tagging.calling import Caller, Serve
from tests.tagging.world import World, created, paid, person

PYRAMID = KINDS[Kind.PYRAMID]
SPAN = Span(date(2025, 4, 1), date(2025, 7, 1))


def terms(
    metric: Metric = Metric.CONVERSION,
    layer: str = "L2",
    to_layer: str = "L3",
    *,
    period: Period = Period.QUARTER,
    compare: Comparison = Comparison.PREVIOUS_PERIOD,
    target: float = 0,
    threshold: float = 0.2,
    min_n: int = 100,
    segment: UUID | None = None,
) -> AlertTerms:
    return AlertTerms("pyramid", metric, layer, to_layer, segment, period, compare, target, threshold, min_n)


def judge(now: Part, before: Part | None, of: AlertTerms | None = None) -> AlertReading:
    return judged(of or terms(), PYRAMID, 1, SPAN, now, before)


def test_ac_57_a_conversion_that_falls_by_a_quarter_is_an_alert_and_of_a_hundred_it_is_noise() -> None:
    seen = judge(Part(220, 2000), Part(300, 2000))
    assert seen.raised
    assert (seen.value, seen.baseline) == (0.11, 0.15)
    assert round(seen.relative or 0, 3) == -0.267
    assert round(seen.z, 2) == -3.76
    assert seen.p_value < 0.001
    noise = judge(Part(11, 100), Part(15, 100))
    assert not noise.raised
    assert round(noise.relative or 0, 3) == -0.267
    assert noise.p_value > 0.05


def test_what_is_better_or_too_little_worse_or_of_too_few_is_no_alert() -> None:
    assert not judge(Part(300, 2000), Part(220, 2000)).raised
    assert not judge(Part(270, 2000), Part(300, 2000)).raised  # a tenth
    assert judge(Part(240, 2000), Part(300, 2000), terms(threshold=0.2)).raised  # a fifth, exactly
    assert not judge(Part(22, 99), Part(300, 600)).raised
    assert not judge(Part(220, 2000), Part(90, 99)).raised
    assert judge(Part(22, 99), Part(300, 600), terms(min_n=99)).raised
    nothing = judge(Part(0, 0), Part(300, 2000))
    assert (nothing.raised, nothing.value, nothing.relative) == (False, None, None)
    assert judge(Part(20, 200), Part(0, 200)).relative is None


def test_of_churn_and_of_the_lost_more_is_worse() -> None:
    churn = terms(Metric.CHURN, "L5", "")
    assert judge(Part(300, 2000), Part(220, 2000), churn).raised
    assert not judge(Part(220, 2000), Part(300, 2000), churn).raised
    lapsed = terms(Metric.LAYER_COUNT, "LAPSED", "")
    assert judge(Part(300, 2000), Part(220, 2000), lapsed).raised
    assert not judge(Part(300, 2000), Part(220, 2000), terms(Metric.LAYER_COUNT, "L5", "")).raised


def test_a_target_is_compared_with_as_it_is() -> None:
    seen = judge(Part(220, 2000), None, terms(compare=Comparison.TARGET, target=0.15))
    assert seen.raised
    assert (seen.baseline, seen.baseline_n) == (0.15, 0)
    assert round(seen.z, 2) == -5.01  # (0.11 - 0.15) / sqrt(0.15 * 0.85 / 2000)


@pytest.mark.parametrize(
    "wrong",
    [
        terms(to_layer=""),
        terms(to_layer="L2"),
        terms(Metric.CHURN, "L5", "L4"),
        terms(compare=Comparison.TARGET),
        terms(target=0.5),
    ],
)
def test_terms_that_contradict_one_another_are_refused(wrong: AlertTerms) -> None:
    with pytest.raises(MalformedAlert):
        wrong.check()


def test_metrics_are_parts_of_the_customers_they_are_about() -> None:
    before = {"L2": {1, 2, 3, 4}, "L3": {5, 6}, "LAPSED": {7}}
    after = {"L2": {1, 8}, "L3": {2, 5}, "LAPSED": {6, 7}, "OUT": {3}}
    assert terms().part(PYRAMID, before, after) == Part(1, 4)
    assert terms(Metric.CHURN, "L2", "").part(PYRAMID, before, after) == Part(1, 4)
    assert terms(Metric.LAYER_COUNT, "L3", "").part(PYRAMID, before, after) == Part(2, 7)
    assert terms(Metric.CHURN, "L6", "").part(PYRAMID, before, after) == Part(0, 0)
    aipl = KINDS[Kind.AIPL]  # whoever is in no layer any more is lost
    assert terms(Metric.CHURN, "A", "").part(aipl, {"A": {1, 2, 3}}, {"A": {1}, "I": {2}}) == Part(1, 3)


@pytest.mark.parametrize(
    ("period", "span", "year_before"),
    [
        (Period.WEEK, (date(2024, 2, 19), date(2024, 2, 26)), date(2023, 2, 20)),
        (Period.MONTH, (date(2024, 1, 1), date(2024, 2, 1)), date(2023, 1, 1)),
        (Period.QUARTER, (date(2023, 10, 1), date(2024, 1, 1)), date(2022, 10, 1)),
        (Period.YEAR, (date(2023, 1, 1), date(2024, 1, 1)), date(2022, 1, 1)),
    ],
)
def test_periods_follow_one_another(period: Period, span: tuple[date, date], year_before: date) -> None:
    whole = last_whole(period, date(2024, 2, 29))
    assert whole == Span(*span)
    assert last_whole(period, whole.end) == whole
    assert previous(period, following(period, whole)) == whole
    assert a_year_before(period, whole).start == year_before


Watched = Callable[[], int]
CROWD = [person(n) for n in range(300)]


@pytest.fixture
def crowd(world: World) -> World:
    """300 people who bought once. In February the first 100 buy again, in March 20 of the next."""
    world.do(DefineLayerModel("pyramid", Kind.PYRAMID, Universe.KNOWN, {}))
    start = datetime(2025, 1, 10, 4, tzinfo=UTC)
    world.tell(*(created(it) for it in CROWD))
    world.tell(*(paid(it, f"{n}", start, 100) for n, it in enumerate(CROWD)))
    world.tell(*(paid(it, f"{n}/2", start + timedelta(40), 100) for n, it in enumerate(CROWD[:100])))
    world.tell(*(paid(it, f"{n}/3", start + timedelta(70), 100) for n, it in enumerate(CROWD[100:120])))
    world.clock.set(datetime(2025, 3, 5, tzinfo=UTC))
    return world


def again(**how: object) -> AlertTerms:
    return terms(Metric.CONVERSION, "L3", "L4", period=Period.MONTH, **how)  # type: ignore[arg-type]


@pytest.fixture
def watched(crowd: World) -> Iterator[Watched]:
    """`watched()` judges what has ended; how many periods."""
    watch = crowd.watch()

    async def judge_all() -> None:
        while await watch.step():
            pass

    def judge_now() -> int:
        before = watch.done
        asyncio.run(judge_all())
        return watch.done - before

    crowd.bus.start()
    yield judge_now
    crowd.bus.stop()


def test_a_month_that_converts_fewer_raises_the_alert_an_hour_after_its_end(crowd: World, watched: Watched) -> None:
    crowd.do(DefineAssetAlert("again", again()))
    crowd.do(DefineAssetAlert("again", again()))
    crowd.at(datetime(2025, 3, 31, 16, 59, tzinfo=UTC))  # one minute short of an hour in Shanghai
    assert watched() == 0
    crowd.at(datetime(2025, 3, 31, 17, tzinfo=UTC))
    assert watched() == 1
    (raised,) = crowd.events(AssetAlert.Raised)
    message = publish(raised)
    assert isinstance(message, tagging.AssetAlertRaised)
    seen = message.reading
    assert (seen.value, seen.n, seen.baseline, seen.baseline_n) == (20 / 200, 200, 100 / 300, 300)
    assert (round(seen.relative_change, 9), seen.p_value < 0.001) == (-0.7, True)
    assert crowd.members(UUID(seen.segment_id)) == set(CROWD[120:])
    crowd.at(datetime(2025, 5, 1, tzinfo=UTC))  # 0 of 180 in April
    assert watched() == 1
    assert len(crowd.events(AssetAlert.Raised)) == 2
    assert crowd.rebuild() == {}


def test_a_period_that_was_no_worse_is_kept_and_says_nothing(crowd: World, watched: Watched) -> None:
    crowd.do(DefineAssetAlert("churn", terms(Metric.CHURN, "L3", "", period=Period.MONTH)))
    crowd.at(datetime(2025, 4, 2, tzinfo=UTC))
    assert watched() == 1
    assert crowd.events(AssetAlert.Raised) == []
    (read,) = crowd.events(AssetAlert.Read)
    assert publish(read) is None
    assert crowd.rebuild() == {}


def test_other_terms_are_another_version_and_an_archived_alert_watches_nothing(crowd: World, watched: Watched) -> None:
    crowd.do(DefineAssetAlert("again", again()))
    assert crowd.do(DefineAssetAlert("again", again(threshold=0.9))).alert_version == 2
    crowd.at(datetime(2025, 4, 2, tzinfo=UTC))
    assert watched() == 1
    assert crowd.events(AssetAlert.Raised) == []
    crowd.do(ArchiveAssetAlert("again"))
    crowd.do(ArchiveAssetAlert("again"))
    crowd.at(datetime(2025, 6, 2, tzinfo=UTC))
    assert watched() == 0
    with pytest.raises(AlertIsArchived):
        crowd.do(DefineAssetAlert("again", again()))


def test_only_customers_of_its_segment_count(crowd: World, watched: Watched) -> None:
    segment = crowd.listed("some", *CROWD[:10], *CROWD[100:250])
    crowd.do(DefineAssetAlert("again", again(segment=segment, min_n=10)))
    crowd.at(datetime(2025, 4, 2, tzinfo=UTC))
    watched()
    (read,) = [it.event for it in crowd.events(AssetAlert.Read)]
    assert isinstance(read, AssetAlert.Read)
    assert (read.reading.hits, read.reading.n) == (20, 150)
    assert (read.reading.baseline, read.reading.baseline_n) == (10 / 160, 160)


def test_what_an_alert_speaks_of_has_to_be_there(world: World) -> None:
    with pytest.raises(ModelNotFound):
        world.do(DefineAssetAlert("again", again()))
    world.do(DefineLayerModel("pyramid", Kind.PYRAMID, Universe.KNOWN, {}))
    with pytest.raises(LayerNotFound):
        world.do(DefineAssetAlert("again", terms(Metric.LAYER_COUNT, "L9", "")))
    with pytest.raises(AlertNotFound):
        world.do(ArchiveAssetAlert("again"))


def test_an_alert_over_grpc_from_its_terms_to_its_readings(crowd: World, serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        crowd.clock.set(datetime(2025, 4, 5, tzinfo=UTC))
        asked = analysis_pb2.AlertTerms(
            model_id="pyramid",
            metric=analysis_pb2.ALERT_METRIC_CONVERSION,
            layer="L3",
            to_layer="L4",
            period=analysis_pb2.ALERT_PERIOD_MONTH,
            compare=analysis_pb2.ALERT_COMPARISON_PREVIOUS_PERIOD,
            threshold=0.2,
        )
        made = (await caller.call("DefineAssetAlert", alert_id="again", terms=asked)).alert
        assert (made.version, made.terms.min_n, made.archived) == (1, 100, False)
        seen = (await caller.call("EvaluateAssetAlert", alert_id="again")).reading
        assert (getattr(seen, "from").month, seen.to.month, seen.raised, seen.value) == (3, 4, True, 0.1)
        again = (await caller.call("EvaluateAssetAlert", alert_id="again")).reading
        assert again == seen
        february: dict[str, Any] = {"as_of": {"year": 2025, "month": 3, "day": 20}}
        before = (await caller.call("EvaluateAssetAlert", alert_id="again", **february)).reading
        assert (getattr(before, "from").month, before.raised) == (2, False)
        first = await caller.call("ListAlertReadings", alert_id="again", page_size=1)
        rest = await caller.call("ListAlertReadings", alert_id="again", page_token=first.next_page_token, page_size=1)
        assert [*first.readings, *rest.readings] == [seen, before]
        assert list((await caller.call("ListAlertReadings", alert_id="again", raised_only=True)).readings) == [seen]
        segment = await caller.call("GetSegment", segment_id=seen.segment_id)
        assert segment.segment.size == 180
        assert [it.alert_id for it in (await caller.call("ListAssetAlerts")).alerts] == ["again"]
        assert (await caller.call("ArchiveAssetAlert", alert_id="again")).alert.archived
        assert (await caller.call("GetAssetAlert", alert_id="again")).alert.archived
        refusals = [
            await caller.refused("EvaluateAssetAlert", alert_id="again"),
            await caller.refused("GetAssetAlert", alert_id="other"),
            await caller.refused("GetAssetAlert", alert_id="again", tenant="globex"),
            await caller.refused("DefineAssetAlert", alert_id="x", terms=nonsense(asked)),
        ]
        assert [it.reason for it in refusals] == [
            "ALERT_IS_ARCHIVED",
            "ALERT_NOT_FOUND",
            "ALERT_NOT_FOUND",
            "MALFORMED_ALERT",
        ]

    serve(check)


def nonsense(of: analysis_pb2.AlertTerms) -> analysis_pb2.AlertTerms:
    message = analysis_pb2.AlertTerms()
    message.CopyFrom(of)
    message.to_layer = ""
    return message
