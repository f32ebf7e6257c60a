"""Referrals: who brought whom, found out of codes, registrations and orders, and what that makes of whoever refers."""

from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from google.protobuf.message import Message

from services.tagging.domain.conditions import Universe
from services.tagging.domain.layers.kinds import Kind
from services.tagging.read_models import referrals
from tests.tagging.calling import Caller, Serve
from tests.tagging.test_erasure import erasing
from tests.tagging.test_layer_models import active, current, defined, moves, run
from tests.tagging.world import (
    START,
    TENANT,
    World,
    behaved,
    created,
    created_at,
    knows,
    merged,
    paid,
    person,
    refunded,
    unmerged,
)

ANN, BEA, CARL, DORA = person("ann"), person("bea"), person("carl"), person("dora")
DAY = timedelta(1)


def has_code(who: UUID, code: str | None, at: datetime = START - 90 * DAY) -> Message:
    return knows(who, "referral_code", code, at)


def registered(who: UUID, code: str, at: datetime = START) -> Message:
    return behaved(who, at, kind="referral_registered", referrer_code=code)


def loyal(who: UUID) -> list[Message]:
    """A customer with a code, and three purchases."""
    bought = [paid(who, f"{who} {days}", START - days * DAY, 100) for days in (30, 20, 10)]
    return [created_at(who, START - 90 * DAY), has_code(who, f"R-{who}"), *bought]


def succeeded(world: World) -> dict[UUID, list[datetime]]:
    with world.engine.connect() as rows:
        nodes = {it.node: it.customer for it in rows.execute(sa.text("SELECT node, customer FROM nodes"))}
        return referrals.successes(rows, TENANT, nodes)


def test_the_first_order_of_whom_somebody_referred_makes_an_advocate_for_365_days(world: World) -> None:
    world.tell(*loyal(ANN))
    active(world)
    assert current(world) == {ANN: "L5"}
    world.tell(created_at(BEA, START), registered(BEA, f"R-{ANN}"))
    assert current(world) == {ANN: "L5", BEA: "L2"}
    world.at(START + DAY)
    world.tell(paid(BEA, "b", START + DAY, 100))
    assert current(world) == {ANN: "L6", BEA: "L3"}
    assert (ANN, "L5", "L6", "EVENT") in moves(world)
    world.tell(refunded(BEA, "b", "r", START + DAY, 100))
    assert current(world)[ANN] == "L5"
    world.tell(paid(BEA, "b2", START + 2 * DAY, 100))  # it counts once its instant has come
    assert current(world)[ANN] == "L5"
    world.at(START + 2 * DAY)
    assert current(world)[ANN] == "L6"
    assert world.rebuild() == {}
    for days in (100, 200, 300, 360):
        world.tell(paid(ANN, f"late {days}", START + days * DAY, 100))
    world.at(START + 365 * DAY)
    assert current(world)[ANN] == "L6"
    world.at(START + 368 * DAY)
    assert current(world)[ANN] == "L5"
    assert (ANN, "L6", "L5", "TIME") in moves(world)


def test_a_code_that_becomes_known_late_counts_and_one_that_is_taken_back_does_not(world: World) -> None:
    world.tell(*(it for it in loyal(ANN) if "AttributesChanged" not in it.DESCRIPTOR.full_name))
    world.tell(created_at(BEA, START - DAY), registered(BEA, "late", START - DAY), paid(BEA, "b", START, 100))
    active(world)
    assert current(world)[ANN] == "L5"
    world.tell(has_code(ANN, "late"))
    assert current(world)[ANN] == "L6"
    world.tell(has_code(ANN, None, START))
    assert current(world)[ANN] == "L5"
    assert world.rebuild() == {}


def test_only_new_customers_are_referred_and_they_stay_with_whom_they_named_first(world: World) -> None:
    for who in (ANN, BEA):
        world.tell(*loyal(who))
    a, b = f"R-{ANN}", f"R-{BEA}"
    before, after = START - 5 * DAY, START + DAY
    world.tell(
        *(created_at(who, START - 10 * DAY) for who in (CARL, DORA)),
        *(registered(CARL, a, START - 9 * DAY), registered(CARL, b, START), paid(CARL, "c", START, 100)),
        *(paid(DORA, "d", before, 100), registered(DORA, b, START), paid(DORA, "d2", after, 100)),  # a buyer already
        *(
            created_at(person("old"), START - 40 * DAY),
            registered(person("old"), b),
            paid(person("old"), "o", after, 100),
        ),
        *(registered(BEA, b, START - 60 * DAY),),  # oneself
        *(
            created_at(person("nobody's"), START),
            registered(person("nobody's"), "?"),
            paid(person("nobody's"), "n", after, 1),
        ),
    )
    assert succeeded(world) == {ANN: [START]}


def test_merges_and_what_undoes_them_move_referrals_too(world: World) -> None:
    active(world, universe=Universe.ALL)
    world.tell(*loyal(ANN), created_at(BEA, START - DAY), created_at(CARL, START - 2 * DAY))
    world.tell(registered(BEA, f"R-{ANN}", START - DAY), paid(BEA, "b", START, 100))
    assert current(world)[ANN] == "L6"
    world.tell(merged(ANN, BEA))  # nobody refers oneself
    assert current(world) == {ANN: "L5"}
    world.tell(unmerged(ANN, BEA))
    assert current(world)[ANN] == "L6"
    world.tell(paid(CARL, "c", START - 2 * DAY, 100), merged(CARL, BEA))  # who had bought before
    assert current(world)[ANN] == "L5"
    world.tell(unmerged(CARL, BEA))
    assert current(world)[ANN] == "L6"
    assert world.rebuild() == {}


def test_what_somebody_erased_did_makes_no_advocate(world: World) -> None:
    active(world)
    world.tell(*loyal(ANN), created_at(BEA, START - DAY))
    world.tell(registered(BEA, f"R-{ANN}", START - DAY), paid(BEA, "b", START, 100))
    assert current(world)[ANN] == "L6"
    world.tell(erasing(BEA))
    assert current(world) == {ANN: "L5"}
    assert world.rebuild() == {}


def test_an_advocate_is_active_and_has_shared_and_is_no_passer_by(world: World) -> None:
    for kind in (Kind.ACTIVITY, Kind.SICAS, Kind.LIFECYCLE, Kind.AIPL):
        active(world, kind, Universe.ALL)
    world.tell(created_at(ANN, START - 400 * DAY), has_code(ANN, "a"), created_at(BEA, START - DAY))
    world.tell(registered(BEA, "a", START - DAY), paid(BEA, "b", START, 100))
    assert current(world, "activity")[ANN] == "MEDIUM"
    assert current(world, "sicas")[ANN] == "S2"
    assert current(world, "lifecycle")[ANN] == "DORMANT"
    assert ANN not in current(world, "aipl")
    assert world.rebuild() == {}


def test_a_run_as_of_a_day_knows_the_referrals_of_before(world: World) -> None:
    world.tell(*loyal(ANN), created_at(BEA, START - DAY))
    world.tell(registered(BEA, f"R-{ANN}", START - DAY), paid(BEA, "b", START, 100))
    world.clock.set(START + 5 * DAY)
    model = defined(world)
    assert run(world, model, (START - DAY).date())[1].counts["L6"] == 0
    assert run(world, model, (START + 2 * DAY).date())[1].counts["L6"] == 1


def test_how_far_customers_tell_others_is_counted(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        nobody = await caller.call("GetReferralStatistics")
        assert (nobody.holders, nobody.invited, nobody.HasField("conversion_rate")) == (0, 0, False)
        for who in (ANN, BEA, CARL):
            world.tell(created(who), has_code(who, f"R-{who}"))
        world.tell(created(DORA), behaved(DORA, START, kind="content_shared"))
        for number, code in enumerate((ANN, ANN, ANN, BEA, BEA, CARL)):
            friend = person(f"friend {number}")
            world.tell(created_at(friend, START), registered(friend, f"R-{code}"))
            if number in (0, 1, 3):
                world.tell(paid(friend, number, START + DAY, 100))
        found = await caller.call("GetReferralStatistics")
        assert (found.holders, found.sharers, found.named, found.invited, found.converted) == (3, 4, 3, 6, 3)
        assert (found.conversion_rate, found.referrers) == (0.5, 2)
        assert [(it.successes, it.customers) for it in found.referrers_by_successes] == [(1, 1), (2, 1)]
        assert (await caller.call("GetReferralStatistics", tenant="other")).holders == 0

    serve(check)
