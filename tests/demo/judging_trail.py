"""What has to hold of behaviour in every report of the main job: layers, funnels, boards and insights by a second computation."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from demo.behaviour_report import FIRST_YEAR, LAST_HALF, WATCHED
from demo.brand import LOSING_WHOM
from demo.buyers import purchase_days
from demo.calendar import instant
from demo.dataset import Order
from demo.touches import Touch
from tests.demo import trail_reference as reference

END_DAY = date(1998, 7, 1)


def judge_trail(
    report: Mapping[str, Any], touches: Sequence[Touch], orders: Sequence[Order], referred: Sequence[Order]
) -> None:
    """Raise AssertionError for the first thing that does not hold; `referred` are the orders of referred people, told at last."""
    _judge_pyramid(report["pyramid"], reference.pasts(touches, [*orders, *referred]))
    _judge_referrals(report["referrals"], touches, referred)
    _judge_cells(report["pyramid"]["reports"], report["churned"])
    _judge_funnels(report["funnels"], touches, orders)
    _judge_boards(report["boards"], touches)
    _judge_insights(report["insights"], touches, orders)
    _judge_explanation(report["explanation"], orders)


def _judge_pyramid(found: Mapping[str, Any], people: Mapping[str, reference.Past]) -> None:
    assert [(it["from"], it["to"]) for it in found["reports"]] == [
        ("1998-01-01", "1998-07-01"),
        ("1998-01-01", "1998-04-01"),
        ("1998-04-01", "1998-07-01"),
    ]
    for it in found["reports"]:
        start, end = date.fromisoformat(it["from"]), date.fromisoformat(it["to"])
        moves = reference.transitions(people, start, end)
        assert {(old, new): n for old, row in it["rows"].items() for new, n in row["moves"].items()} == moves
        for layer, row in it["rows"].items():
            assert row["customers"] == it["before"][layer] == sum(row["moves"].values())
        for layer, customers in it["after"].items():
            assert customers == sum(row["moves"].get(layer, 0) for row in it["rows"].values())


def _judge_referrals(found: Mapping[str, Any], touches: Sequence[Touch], referred: Sequence[Order]) -> None:
    expected = reference.referrals(touches, referred)
    assert {name: found[name] for name in expected} == expected
    assert found["holders"] >= found["referrers"] > 0
    assert round(found["conversion_rate"], 6) == round(found["converted"] / found["invited"], 6)


def _judge_cells(reports: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, Any]]) -> None:
    """The audience of a cell has as many customers as the cell."""
    assert [(it["from"], it["to"], it["size"]) for it in found] == [
        (it["from"], it["to"], it["rows"]["L5"]["moves"].get("LAPSED", 0)) for it in reports
    ]


def _judge_funnels(found: Sequence[Mapping[str, Any]], touches: Sequence[Touch], orders: Sequence[Order]) -> None:
    expected = [
        reference.looking(touches, *LAST_HALF),
        reference.hesitating(orders, *FIRST_YEAR),
        reference.reviewing(touches, orders, *FIRST_YEAR),
    ]
    assert [[step["customers"] for step in it["steps"]] for it in found] == expected
    for it in found:
        assert sum(entry["missions"] + entry["loyal_missions"] for entry in it["entries"].values()) == it["missions"]
        for before, after in zip(it["steps"], it["steps"][1:], strict=False):
            assert after["dropped"] == before["customers"] - after["customers"]


def _judge_boards(found: Mapping[str, Any], touches: Sequence[Touch]) -> None:
    for name, stretches in found.items():
        for stretch, (start, end) in WATCHED.items():
            expected = reference.board(touches, name, start, end)
            totals = stretches[stretch]["totals"]
            assert {kind: (it["count"], it["customers"]) for kind, it in totals.items()} == expected
    followers = [it["net_followers"] for it in found["OFFICIAL_ACCOUNT"].values()]
    assert sum(followers) == sum(it.event_type == "oa_subscribed" for it in reference.accepted(touches))


def _judge_insights(found: Mapping[str, Any], touches: Sequence[Touch], orders: Sequence[Order]) -> None:
    assert found["REPEAT_READER_UNREGISTERED"]["customers"] == reference.repeat_readers(touches)
    assert found["SILENT_GROUP_MEMBER"]["insights"] == found["CART_FORGOTTEN"]["insights"] == 0
    end = instant(END_DAY)
    for kind, (fewest, most) in (
        ("REPURCHASE_STOPPED", reference.stopped_buying(orders, end)),
        ("CHURN_RISK", reference.at_risk(orders, end)),
    ):
        assert fewest <= found[kind]["customers"] <= most


def _judge_explanation(found: Mapping[str, Any], orders: Sequence[Order]) -> None:
    """By its own purchases and one elsewhere the customer is in the segment, and by nights of reading it was a night owl."""
    days = len(purchase_days(orders)[LOSING_WHOM])
    segment, tag = found["segment"], found["tag"]
    assert (segment["member"], segment["differs"], segment["cause"]) == (True, False, "BACKFILL")
    assert [(it["holds"], it["facts"]) for it in segment["leaves"]] == [(True, days), (True, 1), (False, 0)]
    first, *others = segment["words"]
    assert first.startswith(f"On 1998-07-01 00:00 the customer was in segment “{segment['name']}”")
    assert any("1998-04-06 12:00" in it for it in others)
    assert any("1997-12-15 12:00" in it for it in others)
    assert (tag["member"], tag["differs"], tag["cause"], tag["source"]) == (True, False, "EVENT", "RULE:night_owl")
    assert tag["words"][0].startswith("On 1997-02-07 09:00 the customer had the tag “night_owl”, since 1997-01-2")
    assert any("1997-01-20 00:31 session" in it for it in tag["words"])
