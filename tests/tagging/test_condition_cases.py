"""Conditions that people in the field ask for, by name: each with the instants at which it comes and goes (TG-4)."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from services.tagging.domain.calendar import Calendar
from services.tagging.domain.conditions import HasTag, InSegment, LookedUp, members
from services.tagging.domain.conditions.change import next_change
from services.tagging.domain.conditions.evaluation import Customer, holds
from services.tagging.domain.conditions.explanation import explain
from services.tagging.domain.conditions.text_reading import read
from services.tagging.domain.history import Behaviour, History, Purchase

SHANGHAI, NEW_YORK = "Asia/Shanghai", "America/New_York"
BLACKLIST = UUID(int=9)
NOBODY = UUID(int=1)


def local(zone: str, *parts: int) -> datetime:
    return datetime(*parts, tzinfo=ZoneInfo(zone)).astimezone(UTC)  # type: ignore[arg-type,misc]


def did(kind: str, *instants: datetime, **properties: object) -> list[Behaviour]:
    return [Behaviour(it, kind, "", "h5", None, "", "", properties) for it in instants]


def bought(*instants: datetime, net: int = 5_000) -> list[Purchase]:
    return [Purchase(UUID(int=n), it, "USD", net) for n, it in enumerate(instants)]


def customer(
    zone: str, behaviours: Iterable[Behaviour] = (), purchases: Iterable[Purchase] = (), held: Iterable[LookedUp] = ()
) -> Customer:
    history = History(
        NOBODY,
        behaviours=sorted(behaviours, key=lambda it: it.at),
        purchases=sorted(purchases, key=lambda it: it.at),
        groups=frozenset({"tea"}),
    )
    return Customer.of(history, Calendar.of(zone), frozenset(held).__contains__)


def test_ac_37_shanghai_vips_and_spenders_without_the_blacklisted() -> None:
    it = read(f'(city = "Shanghai" and (tag("vip") or total_spend >= 1000)) and not segment("{BLACKLIST}")')
    it.check()
    at = local(SHANGHAI, 2025, 6, 1)
    found = 0
    for n in range(200):
        history = History(
            UUID(int=n),
            purchases=bought(at, net=100_000) if 20 <= n < 45 else bought(at, net=99_999),
            attributes={"city": "Shanghai"} if n < 100 else {},
        )
        held = {HasTag("vip")} if n < 30 or n > 150 else set()
        listed = {InSegment(BLACKLIST)} if n < 5 or 90 <= n < 99 else set()
        found += holds(it, history, Calendar.of(SHANGHAI), at, frozenset[LookedUp](held | listed).__contains__)
    assert found == 40


def test_ac_38_not_includes_those_of_whom_nothing_is_known() -> None:
    at = local(SHANGHAI, 2025, 6, 1)
    for text, expected in (
        ("not family.household_size > 3", True),
        ("family.household_size > 3", False),
        ("family.household_size != 3", False),
        ("family.household_size not exists", True),
        ('event("order_paid") count = 0', True),
        ('event("order_paid") max(amount) < 5', False),
    ):
        assert customer(SHANGHAI).holds(read(text), at) is expected, text


def test_ac_42_no_purchase_in_the_last_30_days_begins_at_midnight_by_the_clock() -> None:
    it = read("order count = 0 in last 30 days")
    who = customer(SHANGHAI, purchases=bought(local(SHANGHAI, 2025, 6, 1, 10)))
    july = local(SHANGHAI, 2025, 7, 1)
    assert not who.holds(it, local(SHANGHAI, 2025, 6, 1, 10))
    assert next_change(it, who, local(SHANGHAI, 2025, 6, 1, 10)) == july
    assert not who.holds(it, july - timedelta(microseconds=1))
    assert who.holds(it, july)
    assert next_change(it, who, july) is None


def test_four_reads_within_20_minutes_without_registering() -> None:
    read_it = 'event("content_viewed")'
    it = read(f'{" then ".join([read_it] * 4)} within 20 minutes and event("registered") count = 0')
    start = local(SHANGHAI, 2025, 6, 1, 20)
    reads = [start + timedelta(minutes=m) for m in (0, 7, 13, 20)]
    assert customer(SHANGHAI, did("content_viewed", *reads)).holds(it, reads[3])
    assert not customer(SHANGHAI, did("content_viewed", *reads)).holds(it, reads[2])
    slower = [*reads[:3], reads[3] + timedelta(seconds=1)]
    assert not customer(SHANGHAI, did("content_viewed", *slower)).holds(it, slower[3])
    registered = did("content_viewed", *reads) + did("registered", reads[3] + timedelta(minutes=1))
    assert customer(SHANGHAI, registered).holds(it, reads[3])
    assert not customer(SHANGHAI, registered).holds(it, reads[3] + timedelta(minutes=1))


def test_four_reads_of_more_than_20_minutes_together_without_registering() -> None:
    it = read(
        'event("content_engaged") count >= 4 in last 24 hours and event("content_engaged") sum(dwell_s) > 1200'
        ' in last 24 hours and event("registered") count = 0'
    )
    start = local(SHANGHAI, 2025, 6, 1, 20)
    reads = [start + timedelta(hours=h) for h in range(4)]
    who = customer(SHANGHAI, did("content_engaged", *reads, dwell_s=300.25))
    assert not who.holds(it, reads[2])
    assert who.holds(it, reads[3])
    assert next_change(it, who, reads[3]) == start + timedelta(hours=24)
    assert not customer(SHANGHAI, did("content_engaged", *reads, dwell_s=300)).holds(it, reads[3])


def test_more_than_five_rebuys_and_then_three_months_of_silence_by_the_clock() -> None:
    it = read("order count > 6 and last_purchase_days >= 90 and event(any) count = 0 in last 90 days")
    orders = [local(SHANGHAI, 2025, 1, day, 12) for day in (1, 4, 8, 12, 16, 20, 25)]
    who = customer(SHANGHAI, did("content_viewed", local(SHANGHAI, 2025, 2, 10, 9)), bought(*orders))
    silent = local(SHANGHAI, 2025, 5, 11)
    assert next_change(it, who, orders[-1]) == silent
    assert not who.holds(it, silent - timedelta(microseconds=1))
    assert who.holds(it, silent)
    few = customer(SHANGHAI, purchases=bought(*orders[:6]))
    assert not few.holds(it, silent)
    assert next_change(it, few, orders[5]) is None


def test_a_night_owl_over_a_change_of_the_clock() -> None:
    """On 9 March 2025 the clocks of New York went from two to three; 00:30 and 03:10 of one night are one night."""
    it = read('event("content_viewed", hours 23..5) days >= 3 in last 30 days')
    saturday, change = local(NEW_YORK, 2025, 3, 8, 23, 30), local(NEW_YORK, 2025, 3, 9, 3, 10)
    assert change - saturday == timedelta(hours=2, minutes=40)
    two = did("content_viewed", local(NEW_YORK, 2025, 3, 6, 1), saturday, change)
    assert not customer(NEW_YORK, two).holds(it, change)
    third = local(NEW_YORK, 2025, 3, 10, 4, 59)
    who = customer(NEW_YORK, two + did("content_viewed", third, local(NEW_YORK, 2025, 3, 12, 5)))
    assert who.holds(it, third)
    assert next_change(it, who, third) == local(NEW_YORK, 2025, 4, 5)
    assert not who.holds(it, local(NEW_YORK, 2025, 4, 5))


def test_a_silent_member_of_a_group() -> None:
    it = read('group("tea") and event("group_message_sent") count = 0 in last 30 days')
    spoke = local(SHANGHAI, 2025, 6, 1, 22)
    who = customer(SHANGHAI, did("group_message_sent", spoke))
    assert not who.holds(it, spoke)
    assert next_change(it, who, spoke) == local(SHANGHAI, 2025, 7, 1)


def test_a_cart_without_an_order_within_three_days_by_the_clock() -> None:
    it = read('event("cart_added") without event("checkout_started") within 3 days in last 30 days')
    cart = local(SHANGHAI, 2025, 6, 1, 10)
    who = customer(SHANGHAI, did("cart_added", cart))
    assert not who.holds(it, cart)
    assert next_change(it, who, cart) == cart + timedelta(days=3)
    assert who.holds(it, cart + timedelta(days=3))
    late = customer(SHANGHAI, did("cart_added", cart) + did("checkout_started", cart + timedelta(days=3)))
    assert not late.holds(it, cart + timedelta(days=3))


def test_days_that_have_not_begun_hold_nothing() -> None:
    at = local(SHANGHAI, 2025, 6, 1)
    who = customer(SHANGHAI, did("content_viewed", at, at))
    assert who.holds(read('event("content_viewed") count = 0 in 2025-07-01..2025-07-03'), at)
    assert not who.holds(read('event("content_viewed") count > 0 in 2025-05-01..2025-05-31'), at)


def test_a_property_nobody_declared_counts_at_once() -> None:
    it = read('event("custom.tea", where flavour = "oolong") count >= 1')
    at = local(SHANGHAI, 2025, 6, 1)
    assert customer(SHANGHAI, did("custom.tea", at, extra={"flavour": "oolong"})).holds(it, at)
    assert not customer(SHANGHAI, did("custom.tea", at, extra={"flavour": "green"})).holds(it, at)


def test_a_refund_takes_an_order_out_of_what_was_spent() -> None:
    it = read("total_spend >= 1000")
    at = local(SHANGHAI, 2025, 6, 1)
    assert customer(SHANGHAI, purchases=bought(at, net=99_999) + bought(at, net=1)).holds(it, at)
    assert not customer(SHANGHAI, purchases=bought(at, net=99_999)).holds(it, at)


def test_an_explanation_says_what_was_counted_by_which_facts_and_what_would_change_it() -> None:
    it = read('event("product_viewed") count >= 3 in last 30 days and not tag("vip")')
    views = [local(SHANGHAI, 2025, 6, day, 9) for day in (1, 2)]
    at = local(SHANGHAI, 2025, 6, 3)
    found = explain(it, customer(SHANGHAI, did("product_viewed", *views)), at)
    counted, tagged = found.parts[0], found.parts[1].parts[0]
    assert not found.holds
    assert (counted.value, counted.because, counted.short_by) == (2, tuple(views), 1)
    assert counted.text == 'event("product_viewed") count >= 3 in last 30 days'
    assert (tagged.text, tagged.holds) == ('tag("vip")', False)
    assert found.decisive() == [counted]
    third = local(SHANGHAI, 2025, 6, 3, 12)
    later = explain(it, customer(SHANGHAI, did("product_viewed", *views, third)), third)
    assert later.holds
    assert later.parts[0].changes_at == local(SHANGHAI, 2025, 7, 1)
    assert later.decisive() == [later.parts[0], later.parts[1].parts[0]]


def test_customer_sets_and_single_customers_say_the_same_of_missing_things() -> None:
    it = read('not tag("vip")')
    assert members(it, lambda leaf: frozenset({1}), frozenset({1, 2})) == {2}
    assert customer(SHANGHAI).holds(it, local(SHANGHAI, 2025, 1, 1))
