"""The generated touchpoint trail against the counts that the specification publishes for it."""

from collections import Counter
from datetime import timedelta
from itertools import pairwise

import orjson

from demo.dataset import Order
from demo.people import Person, bindings
from demo.prospects import Prospect, referred_orders
from demo.touches import Touch
from tests.demo.trail_reference import accepted, identities, referrals


def test_what_is_accepted_of_each_type_is_what_the_specification_counts(touches: list[Touch]) -> None:
    assert len(touches) == 190_952 + 10  # the 10 of nobody are counted apart
    counts = Counter(it.event_type for it in accepted(touches))
    assert counts.total() == 187_089
    assert counts == {
        "content_viewed": 70_543,
        "content_engaged": 59_814,
        "button_clicked": 11_841,
        "qr_scanned": 9_362,
        "ad_exposed": 8_326,
        "oa_subscribed": 5_863,
        "menu_clicked": 5_860,
        "order_reviewed": 7_003,
        "product_viewed": 3_607,
        "cart_added": 1_805,
        "referral_registered": 1_192,
        "content_shared": 1_134,
        "competitor_purchase_reported": 739,
    }


def test_people_read_for_as_long_as_the_specification_says(touches: list[Touch]) -> None:
    buckets = [orjson.loads(it.properties)["active_buckets"] for it in accepted(touches) if "engaged" in it.event_type]
    assert sum(10 * (it - 1) + 5 for it in buckets if it) == 8_346_450


def test_reports_are_received_in_order_and_some_twice_late_or_too_late(touches: list[Touch]) -> None:
    assert all(one.received_at <= two.received_at for one, two in pairwise(touches))
    copies = Counter(it.message_id for it in touches)
    assert Counter(copies.values()) == {1: len(copies) - 3_705, 2: 3_705}
    delays = Counter(it.received_at - it.occurred_at for it in {it.message_id: it for it in touches}.values())
    assert delays == {timedelta(): 185_249, timedelta(days=3): 1_850, timedelta(days=40): 158}


def test_ten_reports_do_not_say_who_it_was(touches: list[Touch]) -> None:
    assert sum((it.who[0].namespace, it.value) == ("user_id", "null") for it in touches) == 10


def test_people_are_seen_before_they_are_known_and_most_strangers_stay_unknown(
    touches: list[Touch], everybody: list[Person]
) -> None:
    found = identities(touches, everybody)
    assert (found.anonymous_created, found.known_created, found.merges) == (34_236, 11, 4_679)
    assert (found.known_customers, found.anonymous_customers) == (23_570 + 1_192, 4_806)


def test_nobody_buys_before_logging_in(orders: list[Order], everybody: list[Person]) -> None:
    login = {person.customer: it.at for person in everybody for it in bindings(person)}
    assert all(login[it.customer] < it.placed_at for it in orders)


def test_strangers_come_and_some_of_them_because_a_customer_told_them(
    touches: list[Touch], strangers: list[Prospect]
) -> None:
    usable = {it.value: it for it in reversed(accepted(touches)) if it.value.startswith("a:prospect")}
    assert (len(strangers), len(usable)) == (6_000, 5_998)
    assert sum(it.is_referred for it in strangers) == 1_192
    assert (
        sum(it.event_type == "referral_registered" for it in usable.values()) == 11
    )  # nothing was heard of them before


def test_sharers_share_once_and_are_named_by_those_who_come(touches: list[Touch]) -> None:
    shared = {it.value.split(":")[2] for it in touches if it.event_type == "content_shared"}
    named = {orjson.loads(it.properties)["referrer_code"][1:] for it in touches if "referral" in it.event_type}
    assert len(shared) == 1_135
    assert named <= shared


def test_as_many_come_because_of_sharers_and_buy_as_the_specification_says(
    touches: list[Touch], strangers: list[Prospect]
) -> None:
    assert referrals(touches, referred_orders(strangers)) == {
        "sharers": 1_135,  # of one of whom it is heard too late that it shared, but two friends name it
        "named": 758,
        "invited": 1_192,
        "converted": 456,
        "referrers": 386,
        "referrers_by_successes": {"1": 325, "2": 52, "3": 9},
    }
