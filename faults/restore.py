"""The restore drill: PostgreSQL is lost under load with all its files, and made again as it was at a moment out of its backups.

What was acknowledged before that moment has to be there, what was done after it has to be gone everywhere, and what is done from then on
has to reach everybody, though its positions were given once before. The last is what an epoch is for (docs/adr/0019).
"""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from time import monotonic, perf_counter, sleep
from typing import Final

import grpc
import psycopg

from chassis.status import refusal
from deploy.local.backups import Backups
from deploy.local.processes import Child
from deploy.local.stack import LocalStack, all_at_once
from faults import judging, read_models
from faults.journal import Entry, Finding
from faults.stage import Stage, opened
from faults.verdict import Control, Scale, Verdict
from scrm.membership.v1 import membership_service_pb2 as membership

SERVICES: Final = {
    Scale.FULL: ("identity", "tracking", "tagging", "membership"),
    Scale.SMALL: ("identity", "membership"),
}
FACTS: Final = {Scale.FULL: 3_000, Scale.SMALL: 60}
"""How many are acknowledged before the moment; a fifth as many come after it and are lost."""
BROKER_IS_LOST_TOO: Final = {Scale.FULL: (False, True), Scale.SMALL: (False,)}
BAR_SECONDS: Final = {Scale.FULL: 60.0, Scale.SMALL: 20.0}
_STRANGERS: Final = 12
_NEWCOMERS: Final = 6
_PASSERS_BY: Final = 40
"""Of the control: more than the 32 positions that a sequence of PostgreSQL may leap when it is recovered."""
_PATIENCE_SECONDS: Final = 300.0
_ONE_SHOT_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Drill:
    """Seconds from the loss until PostgreSQL was back, until callers were answered, and until everything had caught up; what was
    acknowledged after the moment and is no more."""

    postgres: float
    answers: float
    caught_up: float
    undone: Sequence[Entry]


def run(scale: Scale) -> Verdict:
    with opened("restore", SERVICES[scale], _keep_backups) as stage:
        stage.traffic.start()
        backups = backups_of(stage.stack)
        backups.take(stage.stack.postgres)
        drills = []
        finding = Finding()
        for broker_too in BROKER_IS_LOST_TOO[scale]:
            drills.append(_drill(stage, backups, FACTS[scale], broker_too=broker_too))
            finding.add(_strangers_are_unknown(stage, drills[-1].undone))
        stage.traffic.finish()
        stage.caller.rest()
        finding.add(judging.judge(stage.brand, stage.stack))
        finding.add(read_models.judge(stage.stack))
        finding.add(stage.findings())
        acknowledged = stage.journal.counts()
        control = _control(stage, backups)
    worst = max(drills, key=lambda it: it.caught_up)
    return Verdict(
        fault="restore",
        done="PostgreSQL lost with its files and made again as it was at a moment"
        + (", and once more with NATS lost too" if any(BROKER_IS_LOST_TOO[scale]) else ""),
        acknowledged=sum(acknowledged.values()),
        lost=len(finding.lost),
        doubled=len(finding.doubled),
        worst=worst.caught_up,
        bar=BAR_SECONDS[scale],
        control=control,
        problems=[*finding.lost[:5], *finding.doubled[:5], *finding.problems],
        figures={
            "until PostgreSQL was back, s": max(it.postgres for it in drills),
            "until callers were answered, s": max(it.answers for it in drills),
            "until all had caught up, s": worst.caught_up,
            "done after the moment and gone": sum(len(it.undone) for it in drills),
        },
    )


def backups_of(stack: LocalStack) -> Backups:
    return Backups(stack.state_dir / "backups")


def _keep_backups(stack: LocalStack) -> None:
    backups = backups_of(stack)
    stack.postgres = stack.postgres.with_settings(backups.settings)
    backups.open(stack.postgres)


def _drill(stage: Stage, backups: Backups, facts: int, *, broker_too: bool) -> Drill:
    """Load, a moment, more load, the loss, and the way back as docs/operations/postgres-restored.md has it."""
    stack, server = stage.stack, stage.stack.postgres
    _wait_for_facts(stage, facts)
    stage.traffic.pause()
    kept, moment = stage.journal.keys(), _now(stack)
    stage.traffic.resume()
    _recognize(stage, "stranger", _STRANGERS)
    _wait_for_facts(stage, facts // 5)
    stage.traffic.pause()
    backups.wait_until_archived(server)
    lost = perf_counter()
    server.kill()
    if broker_too:
        stack.nats.kill()
        shutil.rmtree(stack.nats.store_dir)
    all_at_once([it.stop for it in stack.services.values()])
    undone = stage.journal.undo_all_but(kept)
    backups.restore(server, moment)
    back = perf_counter()
    if broker_too:
        stack.nats.start()
    begin_epochs(stack)
    all_at_once([it.start for it in stack.services.values()])
    answers = perf_counter()
    stage.caller.rest()
    caught_up = perf_counter()
    stage.traffic.resume()
    _recognize(stage, "newcomer", _NEWCOMERS)
    return Drill(back - lost, answers - lost, caught_up - lost, undone)


def begin_epochs(stack: LocalStack) -> None:
    """`python -m services.<name> restored` for every service, none of which is running."""
    children = [_one_shot(stack, name, "restored") for name in stack.services]
    for it in children:
        it.start()
    for it in children:
        it.wait(_ONE_SHOT_SECONDS)


def _one_shot(stack: LocalStack, name: str, role: str) -> Child:
    command = (sys.executable, "-m", f"services.{name}", role)
    return Child(replace(stack.services[name].child.program, name=f"{name} {role}", command=command))


def _strangers_are_unknown(stage: Stage, undone: Sequence[Entry]) -> Finding:
    """Nobody knows those who were first seen after the moment: not even who heard of them through the broker."""
    finding = Finding()
    for it in (it for it in undone if it.kind == "known" and _is_noticed(stage, it.answer.customer_id)):
        finding.doubled.append(f"{it.key} is known to membership and to nobody else")
    return finding


def _control(stage: Stage, backups: Backups) -> Control:
    """The same once more, when no new epoch begins: who are first seen afterwards are given the positions of those who are gone."""
    stack = stage.stack
    moment = _now(stack)
    _recognize(stage, "passer-by", _PASSERS_BY)
    stage.caller.rest()
    backups.wait_until_archived(stack.postgres)
    stack.postgres.kill()
    all_at_once([it.stop for it in stack.services.values()])
    backups.restore(stack.postgres, moment)
    identity = stack.services["identity"]
    identity.child = Child(
        replace(identity.child.program, command=(sys.executable, "-m", "faults.blind_identity", "all"))
    )
    all_at_once([it.start for it in stack.services.values()])
    customers = _recognize(stage, "latecomer", _NEWCOMERS)
    stage.caller.rest()
    unheard = [it for it in customers if not _is_noticed(stage, it)]
    found = f"membership never hears of {len(unheard)} of {len(customers)} who came after the restore"
    return Control("no new epoch", found, bool(unheard))


def _recognize(stage: Stage, who: str, count: int) -> list[str]:
    """So many people log in for the first time; their ids."""
    already = len(stage.journal.of("known"))
    return [stage.brand.recognized(f"{who}:{already + number}") for number in range(count)]


def _is_noticed(stage: Stage, customer: str) -> bool:
    try:
        stage.caller.insist("membership.GetMember", membership.GetMemberRequest(customer_id=customer))
    except grpc.RpcError as error:
        if refusal(error).code != "NOT_FOUND":
            raise
        return False
    return True


def _now(stack: LocalStack) -> datetime:
    with psycopg.connect(stack.postgres.dsn("postgres", "postgres")) as rows:
        ((now,),) = rows.execute("SELECT clock_timestamp()").fetchall()
    if not isinstance(now, datetime):
        raise TypeError(now)
    return now


def _wait_for_facts(stage: Stage, more: int) -> None:
    enough, give_up = sum(stage.journal.counts().values()) + more, monotonic() + _PATIENCE_SECONDS
    while sum(stage.journal.counts().values()) < enough:
        if monotonic() > give_up:
            raise TimeoutError("the callers do not get on")
        sleep(0.02)
