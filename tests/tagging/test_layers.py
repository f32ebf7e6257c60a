"""Models of layers on single histories (AC-46 … AC-56, AC-111 … AC-117), and that they know when time changes them."""

from collections import Counter
from dataclasses import fields
from datetime import date, timedelta
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from services.tagging.domain.errors import ModelParams
from services.tagging.domain.history import History, Reads
from services.tagging.domain.layers import activity, consideration, intent, params, preference, sicas
from services.tagging.domain.layers.activity import ActivityParams
from services.tagging.domain.layers.aipl import AiplParams
from services.tagging.domain.layers.consideration import ConsiderationParams
from services.tagging.domain.layers.decision import DecisionParams
from services.tagging.domain.layers.intent import IntentParams
from services.tagging.domain.layers.kinds import KINDS, Kind, follow, next_band_change, next_change, state
from services.tagging.domain.layers.lifecycle import LifecycleParams
from services.tagging.domain.layers.path import PathParams
from services.tagging.domain.layers.preference import PreferenceParams
from services.tagging.domain.layers.pyramid import PyramidParams
from services.tagging.domain.layers.report import between
from services.tagging.domain.layers.sicas import SicasParams
from services.tagging.domain.layers.view import NONE, View
from tests.tagging.agreement import only
from tests.tagging.histories import (
    CALENDAR,
    NOW,
    ago,
    at_random,
    bought,
    did,
    history,
    layer,
    line,
    read,
)


def view(*facts: Any) -> View:
    return View.of(history(*facts), CALENDAR, NOW)


def test_ac_46_activity_fades_by_half_in_fourteen_days() -> None:
    facts = (did("content_shared", 3), did("button_clicked", 10), did("content_viewed", 0))
    assert round(activity.score(view(*facts), ActivityParams()), 2) == 6.53
    assert layer(Kind.ACTIVITY, ActivityParams(), *facts) == "MEDIUM"
    assert layer(Kind.ACTIVITY, ActivityParams(), did("content_shared", 90)) == "SILENT"
    assert layer(Kind.ACTIVITY, ActivityParams(), did("content_shared", 89)) == "LOW"
    assert layer(Kind.ACTIVITY, ActivityParams()) == NONE


def test_the_active_cycle_is_by_the_hours_of_the_week_and_the_days_between() -> None:
    found = activity.cycle(view(*(did("checkin", days) for days in (0, 0.01, 2, 7, 91))), ActivityParams())
    monday, noon = 0, 12  # NOW is a Sunday at noon in the zone
    assert found.gap == 3.5
    assert {hour: n for hour, n in enumerate(found.hours) if n} == {
        6 * 24 + noon - 1: 1,
        6 * 24 + noon: 2,
        4 * 24 + noon: 1,
    }
    assert len(found.hours) == 7 * 24
    assert activity.cycle(view(did("checkin", 1)), ActivityParams()).gap is None
    assert activity.cycle(view(), ActivityParams()).hours[monday] == 0


def test_of_one_type_no_more_than_five_a_day_count() -> None:
    assert activity.score(view(*(did("checkin", n / 100) for n in range(9))), ActivityParams()) == 5


@pytest.mark.parametrize(("days", "expected"), [(20, "NEW"), (40, "GROWING"), (366, "CHURNED")])
def test_ac_47_a_life_goes_on_from_new_to_churned(days: int, expected: str) -> None:
    assert state(Kind.LIFECYCLE, history(bought(days), known=400), LifecycleParams(), CALENDAR, NOW) == expected


def test_lifecycle_takes_the_first_stage_that_fits() -> None:
    launched = LifecycleParams(launched_on=ago(100).date())
    feedback = [did("survey_answered", 95 - n) for n in range(3)]

    def stage(*facts: Any, params: LifecycleParams = launched, known: float | None = 98, **attributes: Any) -> str:
        return state(Kind.LIFECYCLE, history(*facts, known=known, **attributes), params, CALENDAR, NOW)

    assert stage(bought(1), koc=True) == "SUPER"
    assert stage(bought(366), koc=True) == "CHURNED"
    assert stage(bought(50), did("content_shared", 1)) == "ANGEL"
    assert stage(*feedback) == "SEED"
    assert stage(*feedback[:2], did("checkin", 1)) == "PROSPECT"
    assert stage() == "DORMANT"
    assert stage(bought(60), bought(55), bought(50), params=LifecycleParams()) == "DORMANT"  # far beyond its cycle
    assert stage(bought(60), bought(50), params=LifecycleParams()) == "MATURE"
    assert stage(known=10) == "NEW"
    assert stage(did("checkin", 50)) == "PROSPECT"


INTENT = (did("cart_added", 2), did("product_viewed", 1), did("product_viewed", 3), did("consult_started", 0))
MORE = (did("favourite_added", 0), did("product_viewed", 0))


def test_ac_48_intent_rises_to_one_lead() -> None:
    assert round(intent.scores(view(*INTENT), IntentParams())[""], 2) == 39.65
    assert layer(Kind.INTENT, IntentParams(), *INTENT) == "MEDIUM"
    assert intent.leads(view(*INTENT), IntentParams()) == []
    assert round(intent.scores(view(*INTENT, *MORE), IntentParams())[""], 2) == 54.65
    assert layer(Kind.INTENT, IntentParams(), *INTENT, *MORE) == "HIGH"
    (lead,) = intent.leads(view(*INTENT, *MORE, did("cart_added", 0)), IntentParams())
    assert lead.won_at is None


def test_ac_111_a_lead_comes_again_only_after_the_score_was_low() -> None:
    facts: list[Any] = [*INTENT, *MORE]
    later = NOW + timedelta(7)
    assert layer(Kind.INTENT, IntentParams(), *facts, at=later) == "MEDIUM"
    facts.append(did("checkout_started", -7))
    seen = View.of(history(*facts), CALENDAR, later)
    assert round(intent.scores(seen, IntentParams())[""], 1) == 57.3
    assert len(intent.leads(seen, IntentParams())) == 2
    sooner = View.of(history(*INTENT, *MORE, did("checkout_started", -5)), CALENDAR, later)
    assert len(intent.leads(sooner, IntentParams())) == 1  # the score was still above 30
    facts.append(bought(-7.001))
    paid = View.of(history(*facts), CALENDAR, NOW + timedelta(7.01))
    assert intent.scores(paid, IntentParams())[""] == 0
    assert [it.won_at for it in intent.leads(paid, IntentParams())] == [None, facts[-1].at]


def test_intent_is_about_the_category_of_an_article() -> None:
    seen = view(
        did("product_viewed", 1, sku="x", category="serum"), did("cart_added", 0, sku="x"), bought(2, line("b"))
    )
    assert intent.scores(seen, IntentParams()).keys() == {"serum", "b", ""}
    assert set(intent.scores(seen, IntentParams(category="serum"))) == {"serum"}


def test_ac_49_half_of_all_weight_makes_a_preference() -> None:
    facts = [did("cart_added", 0, category=it) for it in "AAAB"]
    facts += [did("product_viewed", 0, category=it) for it in "BBCC"]
    assert preference.shares(view(*facts), PreferenceParams()) == {"A": 0.6, "B": 0.3, "C": 0.1}
    assert layer(Kind.PREFERENCE, PreferenceParams(), *facts) == "A"
    assert layer(Kind.PREFERENCE, PreferenceParams(), *facts, at=NOW + timedelta(500)) == "A"


def test_ac_112_one_event_is_no_preference_and_a_bad_review_takes_weight() -> None:
    assert layer(Kind.PREFERENCE, PreferenceParams(), did("cart_added", 0, category="B")) == "MIXED"
    facts = [did("cart_added", 0, category=it) for it in "AAAB"]
    facts += [did("product_viewed", 0, category=it) for it in "BBCC"]
    facts.append(did("review_submitted", 0, category="A", score=1))
    assert preference.shares(view(*facts), PreferenceParams())["A"] == 0.5
    assert layer(Kind.PREFERENCE, PreferenceParams(), *facts) == "A"
    facts.append(did("review_submitted", 0, category="A", score=2))
    assert layer(Kind.PREFERENCE, PreferenceParams(), *facts) == "B"
    assert layer(Kind.PREFERENCE, PreferenceParams(), bought(0, line("A", 3)), bought(1, line("A"))) == "A"


def test_ac_50_three_of_four_by_promotion_are_price_sensitive() -> None:
    facts: list[Any] = [bought(40, coupons=1), bought(30, line("A", paid=9_000)), bought(10, coupons=1)]
    facts += [bought(20), *read(65, 21, category="A")]
    assert layer(Kind.DECISION, DecisionParams(), *facts) == "PRICE_SENSITIVE"


def test_ac_113_a_tie_goes_to_the_more_recent() -> None:
    assert layer(Kind.DECISION, DecisionParams(), bought(1, coupons=1)) == "UNDETERMINED"
    facts: list[Any] = [bought(20), *read(65, 21, category="A"), bought(5), did("referral_registered", 6)]
    assert layer(Kind.DECISION, DecisionParams(), *facts) == "REFERRAL"
    nine_percent = [bought(it, line("A", paid=9_100)) for it in (1, 2)]
    assert layer(Kind.DECISION, DecisionParams(), *nine_percent) == "UNDETERMINED"


def test_a_stronger_influence_outdoes_a_weaker_one() -> None:
    talk = [did("group_message_sent", 1.5), did("livestream_entered", 1.2, host="h")]
    assert layer(Kind.DECISION, DecisionParams(), bought(1, coupons=1), bought(0), *talk) == "KOL_INFLUENCED"
    assert layer(Kind.DECISION, DecisionParams(), bought(1), bought(0), talk[0]) == "COMMUNITY"
    old = did("referral_registered", 9)
    assert layer(Kind.DECISION, DecisionParams(), bought(1), bought(0), old) == "UNDETERMINED"


def test_ac_51_most_purchases_come_by_livestream() -> None:
    facts: list[Any] = [did("checkin", 30.1, "oa"), bought(30)]
    for day in (20, 10):
        facts += [did("livestream_entered", day + 0.1, "livestream"), did("call_connected", day + 0.05), bought(day)]
    assert layer(Kind.PATH, PathParams(), *facts) == "LIVESTREAM"


def test_ac_114_without_purchases_most_sessions_decide() -> None:
    facts = [did("checkin", n, "oa") for n in range(3)] + [did("checkin", n + 0.5, "mini_program") for n in range(5)]
    facts += [did("checkin", 2 + n / 10_000, "oa") for n in range(5)]  # one session
    assert layer(Kind.PATH, PathParams(), *facts) == "MINI_PROGRAM"
    assert layer(Kind.PATH, PathParams(), did("call_connected", 1, "phone")) == "OTHER"
    assert layer(Kind.PATH, PathParams()) == NONE


def test_the_pyramid_has_a_place_for_everybody() -> None:
    p = PyramidParams()
    assert layer(Kind.PYRAMID, p) == NONE
    assert layer(Kind.PYRAMID, p, did("content_viewed", 364)) == "L1"
    assert layer(Kind.PYRAMID, p, did("content_viewed", 365)) == "OUT"
    assert layer(Kind.PYRAMID, p, did("cart_added", 89)) == "L2"
    assert layer(Kind.PYRAMID, p, did("cart_added", 90)) == "L1"
    assert layer(Kind.PYRAMID, p, did("product_viewed", 5), did("product_viewed", 4)) == "L2"
    assert layer(Kind.PYRAMID, p, did("referral_registered", 89)) == "L2"
    assert layer(Kind.PYRAMID, p, did("referral_registered", 90)) == "L1"
    assert layer(Kind.PYRAMID, p, did("product_viewed", 5), did("product_viewed", 5.01)) == "L1"
    assert layer(Kind.PYRAMID, p, bought(1), bought(1.1)) == "L3"
    assert layer(Kind.PYRAMID, p, bought(1, net=0), did("cart_added", 1)) == "L2"  # given back in full
    assert layer(Kind.PYRAMID, p, bought(1), bought(700)) == "L4"
    assert layer(Kind.PYRAMID, p, *(bought(it) for it in (1, 2, 700))) == "L5"
    assert layer(Kind.PYRAMID, p, *(bought(it) for it in (1, 2, 3)), did("custom.referral_succeeded", 9)) == "L6"
    assert layer(Kind.PYRAMID, p, bought(365)) == "LAPSED"


def test_ac_53_a_competitor_counts_for_a_year() -> None:
    facts = [bought(it) for it in (1, 2, 3)]
    assert layer(Kind.PYRAMID, PyramidParams(), *facts, did("competitor_purchase_reported", 364)) == "L4"
    assert layer(Kind.PYRAMID, PyramidParams(), *facts, did("competitor_purchase_reported", 366)) == "L5"
    who = history(*facts, did("competitor_purchase_reported", 363))
    changes = next_change(Kind.PYRAMID, who, PyramidParams(), CALENDAR, NOW)
    assert changes is not None
    assert NOW + timedelta(1) < changes <= NOW + timedelta(2)


def test_ac_54_sicas_sees_every_stage_by_itself() -> None:
    seen = view(*read(15, 1), bought(0))
    assert sicas.flags(seen, SicasParams()) == ["S", "I", "A"]
    assert layer(Kind.SICAS, SicasParams(), *read(15, 1), bought(0)) == "A"


def test_ac_115_a_follower_is_sensed_but_not_in_contact() -> None:
    assert sicas.flags(view(did("oa_subscribed", 91)), SicasParams()) == ["S"]
    assert sicas.flags(view(did("oa_subscribed", 91), did("oa_unsubscribed", 90.5)), SicasParams()) == []
    assert sicas.flags(view(did("oa_subscribed", 89)), SicasParams()) == ["S", "C"]
    crowd = [history(bought(0), did("group_joined", 1))] * 70 + [history(bought(0), did("ad_exposed", 0))] * 30
    marks = [set(KINDS[Kind.SICAS].marks(View.of(it, CALENDAR, NOW), SicasParams())) for it in crowd]
    acted = [it for it in marks if "+A" in it]
    assert (len(acted), sum("+C" not in it for it in acted)) == (100, 30)


def test_ac_116_aipl_takes_the_highest_that_fits() -> None:
    p = AiplParams()
    assert layer(Kind.AIPL, p, bought(10), did("content_viewed", 0)) == "P"
    assert layer(Kind.AIPL, p, bought(10), bought(9)) == "L"
    assert layer(Kind.AIPL, p, bought(10), did("review_submitted", 1, score=4)) == "L"
    assert layer(Kind.AIPL, p, bought(10), did("review_submitted", 1, score=3)) == "P"
    assert layer(Kind.AIPL, p, bought(10, net=0), did("cart_added", 14)) == "I"
    assert layer(Kind.AIPL, p, bought(10, net=0), did("cart_added", 15)) == NONE
    assert layer(Kind.AIPL, p, *read(5, 1)) == "A"
    assert layer(Kind.AIPL, p, *read(15, 1)) == "I"
    assert layer(Kind.AIPL, p, did("product_viewed", 1)) == "A"
    assert layer(Kind.AIPL, p, did("product_viewed", 1), did("product_viewed", 2)) == "I"


def test_ac_55_aipl_deepens_and_churns() -> None:
    numbers = iter(range(1000))

    def some(n: int) -> set[int]:
        return {next(numbers) for _ in range(n)}

    moves = {("A", "I"): 20, ("A", NONE): 50, ("I", "P"): 10, ("I", NONE): 15, ("P", "L"): 6, ("L", "P"): 2}
    before: dict[str, set[int]] = {}
    after: dict[str, set[int]] = {}
    for (old, new), n in {**moves, ("A", "A"): 30, ("I", "I"): 25, ("P", "P"): 24, ("L", "L"): 18}.items():
        who = some(n)
        before.setdefault(old, set()).update(who)
        if new != NONE:
            after.setdefault(new, set()).update(who)
    report = between(KINDS[Kind.AIPL], before, after)
    assert dict(report.before) == {"A": 100, "I": 50, "P": 30, "L": 20, NONE: 0}
    assert {it: report.after[it] for it in "AIPL"} == {"A": 30, "I": 45, "P": 36, "L": 24}
    assert report.deepening == Fraction(20, 100)
    assert [report.row(it).part(report.row(it).lost) for it in "AI"] == [Fraction(1, 2), Fraction(3, 10)]


KNOWN = ConsiderationParams(competitor_source=True)


def outcome(*facts: Any, params: ConsiderationParams = KNOWN) -> str:
    return layer(Kind.CONSIDERATION, params, *facts)


def test_ac_56_what_became_of_intent() -> None:
    wants, elsewhere = did("cart_added", 10), did("competitor_purchase_reported", 5)
    assert outcome(bought(5)) == "TRANSFER_IN"
    assert outcome(wants, bought(5)) == "REALISED"
    assert outcome(wants, elsewhere) == "TRANSFER_OUT"
    assert outcome(wants) == "PENDING"
    assert outcome(did("checkin", 1)) == "NO_INTENT"
    counts = Counter({"REALISED": 80, "TRANSFER_OUT": 30, "PENDING": 90, "TRANSFER_IN": 40})
    found = consideration.outcome(counts, KNOWN)
    assert (found.transfer_in, found.transfer_out, found.pending) == (40, 30, 90)
    assert (found.realisation, found.loss) == (Fraction(80, 200), Fraction(30, 110))


def test_ac_117_intent_counts_for_thirty_days_and_who_bought_of_both_has_realised_it() -> None:
    wants, elsewhere = did("cart_added", 10), did("competitor_purchase_reported", 5)
    assert outcome(did("cart_added", 36), bought(5)) == "TRANSFER_IN"
    assert outcome(did("cart_added", 35), bought(5)) == "REALISED"
    both = view(wants, bought(4), elsewhere)
    assert consideration.layer(both, KNOWN) == "REALISED"
    assert consideration.marks(both, KNOWN) == ("+ALSO_COMPETITOR",)


def test_ac_117_without_a_source_of_reports_nobody_knows_who_was_lost() -> None:
    unknown = ConsiderationParams()
    wants, elsewhere = did("cart_added", 10), did("competitor_purchase_reported", 5)
    assert outcome(wants, elsewhere, params=unknown) == "PENDING"
    assert consideration.marks(view(wants, bought(4), elsewhere), unknown) == ()
    found = consideration.outcome(Counter({"REALISED": 80, "PENDING": 90}), unknown)
    assert (found.transfer_out, found.loss, found.realisation) == (None, None, Fraction(80, 170))
    report = between(
        KINDS[Kind.CONSIDERATION].told(unknown), {"PENDING": {1}, "TRANSFER_OUT": set()}, {"REALISED": {1}}
    )
    assert "TRANSFER_OUT" not in report.layers
    assert "TRANSFER_OUT" not in report.after
    assert "TRANSFER_OUT" in between(KINDS[Kind.CONSIDERATION].told(KNOWN), {"PENDING": {1}}, {"REALISED": {1}}).layers


@pytest.mark.parametrize("kind", list(Kind))
def test_nothing_changes_before_the_instant_foretold(kind: Kind) -> None:
    """And at that instant it does: neither late nor, for what happened before, early."""
    random, chosen = Random(kind.value), KINDS[kind].params()
    for _ in range(60):
        who = at_random(random)
        at = ago(random.uniform(-5, 400))
        found = follow(kind, View.of(who, CALENDAR, at), chosen)
        horizon = found.next_change or NOW + timedelta(2000)
        for _ in range(6):
            between_them = at + random.random() * (horizon - at)
            assert state(kind, who, chosen, CALENDAR, between_them) == found.layer
        just_before = horizon - timedelta(microseconds=1)
        assert just_before < at or state(kind, who, chosen, CALENDAR, just_before) == found.layer
        past = History(who.customer, None, who.known_since, who.up_to(at).behaviours, who.up_to(at).purchases)
        alone = next_change(kind, past, chosen, CALENDAR, at)
        if alone is not None and (who.known_since is None or who.known_since <= at):
            was = state(kind, past, chosen, CALENDAR, at)
            assert state(kind, past, chosen, CALENDAR, alone) != was


def test_no_band_changes_before_the_instant_foretold() -> None:
    random, chosen = Random("bands"), KINDS[Kind.INTENT].params()
    by = KINDS[Kind.INTENT].banding
    assert by is not None
    changed = 0
    for _ in range(100):
        who, at = at_random(random), ago(random.uniform(-5, 30))
        seen = View.of(who, CALENDAR, at)
        due = next_band_change(Kind.INTENT, seen, chosen)
        last = CALENDAR.day(due) if due is not None else seen.day + 200
        days = [by.bands(seen.on(day), chosen) for day in range(seen.day, last)]
        assert all(it == by.bands(seen, chosen) for it in days)
        if due is not None:
            assert by.bands(seen.on(last), chosen) != by.bands(seen, chosen)
            changed += 1
    assert changed > 20


@pytest.mark.parametrize("kind", list(Kind))
def test_what_a_kind_says_that_it_reads_decides(kind: Kind) -> None:
    """Also when it decides for several instants at once."""
    it, chosen, random = KINDS[kind], KINDS[kind].params(), Random(kind.value)
    for _ in range(80):
        who = at_random(random)
        instants = [ago(random.uniform(-5, 400)) for _ in range(3)]
        for found, at in zip(View.of_each(only(it.reads, who), CALENDAR, instants), instants, strict=True):
            whole = View.of(who, CALENDAR, at)
            assert it.layer(found, chosen) == it.layer(whole, chosen)
            assert it.marks(found, chosen) == it.marks(whole, chosen)


def test_what_a_kind_does_not_say_would_be_missed() -> None:
    """The control of the test before: with nothing read, kinds that look at more come to something else."""
    missed: set[Kind] = set()
    for kind in Kind:
        it, chosen, random = KINDS[kind], KINDS[kind].params(), Random(kind.value)
        for _ in range(80):
            who = at_random(random)
            less = View.of(only(Reads(frozenset(), lines=False, who=False), who), CALENDAR, NOW)
            whole = View.of(who, CALENDAR, NOW)
            if (it.layer(less, chosen), it.marks(less, chosen)) != (it.layer(whole, chosen), it.marks(whole, chosen)):
                missed.add(kind)
    assert missed == set(Kind) - {Kind.PYRAMID, Kind.ACTIVITY, Kind.PATH, Kind.CONSIDERATION}


@pytest.mark.parametrize("kind", list(Kind))
def test_facts_in_any_order_make_the_same_layer(kind: Kind) -> None:
    random, chosen = Random(7), KINDS[kind].params()
    for _ in range(20):
        who = at_random(random)
        at = ago(random.uniform(0, 300))
        assert state(kind, who.up_to(at), chosen, CALENDAR, at) == state(kind, who, chosen, CALENDAR, at)


@pytest.mark.parametrize(
    ("kind", "given", "path"),
    [
        (Kind.PYRAMID, {"lapsed_days": 0}, "lapsed_days"),
        (Kind.PYRAMID, {"lapsed_days": 3651}, "lapsed_days"),
        (Kind.PYRAMID, {"loyal_occasions": 2}, "loyal_occasions"),
        (Kind.PYRAMID, {"referral_events": ["nothing"]}, "referral_events.nothing"),
        (Kind.ACTIVITY, {"medium": 30}, "high"),
        (Kind.ACTIVITY, {"weights": {"checkin": -1}}, "weights.checkin"),
        (Kind.ACTIVITY, {"weights": {"no_such": 1}}, "weights.no_such"),
        (Kind.INTENT, {"half_life_days": 1.5}, "half_life_days"),
        (Kind.INTENT, {"unheard_of": 1}, "unheard_of"),
        (Kind.DECISION, {"share": 0}, "share"),
        (Kind.LIFECYCLE, {"launched_on": "soon"}, "launched_on"),
        (Kind.PREFERENCE, {"cart": "4"}, "cart"),
        (Kind.SICAS, {"window_days": float("nan")}, "window_days"),
    ],
)
def test_bad_parameters_are_refused_by_their_path(kind: Kind, given: dict[str, Any], path: str) -> None:
    with pytest.raises(ModelParams) as refused:
        params.read(KINDS[kind].params, given)
    assert refused.value.metadata["path"] == path


@pytest.mark.parametrize("kind", list(Kind))
def test_parameters_come_back_as_they_were_stated(kind: Kind) -> None:
    chosen: Any = KINDS[kind].params()
    assert params.read(KINDS[kind].params, params.stated(chosen)) == chosen
    assert params.read(KINDS[kind].params, {}) == chosen
    assert {it.name for it in fields(chosen)} == params.stated(chosen).keys()


def test_a_launch_is_a_date() -> None:
    found = params.read(LifecycleParams, {"launched_on": "2025-01-31", "new_days": 14.0})
    assert found == LifecycleParams(launched_on=date(2025, 1, 31), new_days=14)
