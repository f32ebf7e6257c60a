"""What has to hold for every report of the main job, whoever of the customers took part: sums, and a second computation."""

import csv
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from demo.dataset import Order
from demo.people import Person
from demo.prospects import Prospect, referred_orders
from demo.touches import Touch
from tests.demo import reference, trail_reference
from tests.demo.judging_trail import judge_trail

DECISION_DAY, END_DAY = date(1998, 1, 5), date(1998, 7, 1)
SENT_AT = datetime(1998, 1, 5, 15, tzinfo=UTC)
OBSERVED_UNTIL = datetime(1998, 2, 12, 15, tzinfo=UTC)


@dataclass(frozen=True)
class Story:
    """What was told to the services."""

    orders: Sequence[Order]
    everybody: Sequence[Person]
    strangers: Sequence[Prospect]
    touches: Sequence[Touch]


@dataclass(frozen=True)
class Findings:
    """What the services said, and the story they were told."""

    report: Mapping[str, Any]
    rfm_rows: Mapping[str, Mapping[str, str]]
    story: Story

    @classmethod
    def read(cls, folder: Path, story: Story) -> "Findings":
        report = json.loads((folder / "report.json").read_text())
        with (folder / "rfm_rows.csv").open(newline="") as file:
            rows = {it["assignment_key"]: it for it in csv.DictReader(file)}
        return cls(report, rows, story)


def judge(findings: Findings) -> None:
    """Raise AssertionError for the first thing that does not hold."""
    _judge_orders(findings)
    _judge_ingestion(findings)
    _judge_identity(findings)
    _judge_rfm(findings.report["checkpoint_a"], reference.rfm(findings.story.orders, DECISION_DAY))
    _judge_rfm(findings.report["rfm"]["real"], reference.rfm(findings.story.orders, END_DAY))
    referred = referred_orders(findings.story.strangers)
    with_referred = reference.rfm([*findings.story.orders, *referred], END_DAY)
    _judge_rfm(findings.report["rfm"]["with_referred"], with_referred)
    _judge_rfm_rows(findings)
    judge_trail(findings.report, findings.story.touches, findings.story.orders, referred)
    _judge_experiment(findings)
    _judge_membership(findings.report["membership"])
    _judge_erasure(findings)
    assert findings.report["night_owl"]["ever"] == sum(it.roll("night") < 600 for it in findings.story.everybody)


def _judge_orders(findings: Findings) -> None:
    orders, found = findings.story.orders, findings.report["orders"]
    assert found["rows"] == len(orders)
    assert cents(found["net"]) == sum(it.amount for it in orders)
    assert found["rows_with_net"] == sum(it.amount > 0 for it in orders)
    assert found["customers_with_net"] == len({it.customer for it in orders if it.amount > 0})
    assert found["purchase_occasions"] == len({(it.customer, it.paid_at.date()) for it in orders if it.amount > 0})
    assert found["unpaid"] == 0


def _judge_ingestion(findings: Findings) -> None:
    found, touches = findings.report["ingestion"], findings.story.touches
    assert found["submitted"] == len(touches)
    outcomes = ("accepted", "duplicate", "quarantined", "rejected")
    for counts in (found, *found["by_type"].values()):
        assert counts["submitted"] == sum(counts.get(it, 0) for it in outcomes)
    assert {name: it["submitted"] for name, it in found["by_type"].items()} == Counter(it.event_type for it in touches)
    messages = list({it.message_id: it for it in touches if it.value != "null"}.values())
    delays = Counter(it.received_at - it.occurred_at for it in messages)
    assert found["accepted"] == len(messages) - delays[timedelta(days=40)]
    assert found["late"] == delays[timedelta(days=3)]
    assert found["rejected"] == 0


def _judge_identity(findings: Findings) -> None:
    found = findings.report["identity"]
    expected = asdict(trail_reference.identities(findings.story.touches, findings.story.everybody))
    assert {name: found[name] for name in expected} == expected


def _judge_rfm(found: Mapping[str, Any], scoring: reference.Scoring) -> None:
    customers = scoring.customers.values()
    assert found["n"] == len(customers)
    assert found["cuts"]["R"] == scoring.cuts["R"]
    assert found["cuts"]["F"] == scoring.cuts["F"]
    assert list(map(cents, found["cuts"]["M"])) == scoring.cuts["M"]
    assert cents(found["net"]) == sum(it.monetary for it in customers)
    types = Counter(it.type for it in customers)
    assert {name: count for name, count in found["types"].items() if count} == types
    for name, row in found["segments"].items():
        members = [it for it in customers if it.segment == name]
        assert row["customers"] == len(members)
        assert cents(row["net"]) == sum(it.monetary for it in members)
        if members:
            assert round(row["average_recency_days"] * len(members)) == sum(it.recency for it in members)
            assert round(row["average_frequency"] * len(members)) == sum(it.frequency for it in members)
    assert sum(it["customers"] for it in found["segments"].values()) == len(customers)


def _judge_rfm_rows(findings: Findings) -> None:
    """Every single customer as the file says, under the key that experiments use."""
    expected = {
        f"cdnow:{customer}": {
            "recency_days": str(it.recency),
            "frequency": str(it.frequency),
            "net_cents": str(it.monetary),
            "scores": "-".join(map(str, it.scores)),
            "type": it.type,
            "segment": it.segment,
        }
        for customer, it in reference.rfm(findings.story.orders, END_DAY).customers.items()
    }
    columns = next(iter(expected.values()))
    assert {key: {it: row[it] for it in columns} for key, row in findings.rfm_rows.items()} == expected


def _judge_experiment(findings: Findings) -> None:
    found, orders = findings.report["experiment"], findings.story.orders
    scoring = reference.rfm(orders, DECISION_DAY)
    units = reference.assigned(scoring)
    targeted = sum(it.segment in reference.SLIPPING_AWAY for it in scoring.customers.values())
    assert findings.report["audience"]["segment_size"] == targeted
    assert findings.report["audience"]["snapshot_size"] == found["targeted"] == targeted
    assert found["arms"] == Counter(units.values())
    assert found["assigned"] == len(units) == targeted - found["global_control"] - found["outside"]
    arms = found["arms"]
    assert found["sent"] == {"holdout": 0, "A": arms["A"], "B": arms["B"], "remainder": 0}
    assert (found["failed"], found["unknown"], found["outside"]) == (0, 0, 0)
    for window, end in (("decision_window", SENT_AT + timedelta(days=7)), ("observation_window", OBSERVED_UNTIL)):
        variants = found[window]["variants"]
        assert {name: it["assigned"] for name, it in variants.items()} == arms
        assert {name: it["converted"] for name, it in variants.items()} == reference.converted(
            orders, units, SENT_AT, end
        )


def _judge_membership(found: Mapping[str, Any]) -> None:
    assert found["ledger_identity_holds"] is True
    assert found["granted_points"] == found["earned_points"]
    left = found["granted_points"] - found["burned_points"] - found["expired_points"] - found["reversed_points"]
    assert left == found["active_points"] + found["pending_points"]
    assert (found["burned_points"], found["reversed_points"], found["debt_points"]) == (0, 0, 0)


def _judge_erasure(findings: Findings) -> None:
    """A hundred of all customers are gone: of what was counted nothing is less, only of what there is now."""
    found, before = findings.report["erasure"], findings.report["membership"]
    count = round(len(findings.story.everybody) / 235)
    assert found["customers"] == count > 0
    assert found["keys_destroyed"] == found["nodes"] >= count
    assert found["certificates_hold"], found["against_certificates"]
    assert found["canaries_before"], "the control: what is looked for can be found"
    assert not found["canaries_left"]
    changed = found["changed"]
    known = findings.report["identity"]["known_customers"]
    assert changed.pop("identity.known_customers") == [known, known - count]
    members = found["removed"]["membership"]["members"]
    assert changed.pop("membership.members", [before["members"]] * 2) == [
        before["members"],
        before["members"] - members,
    ]
    assert changed.keys() <= {
        *("membership.active_points", "membership.accounts_with_positive_balance", "membership.accounts"),
        *("night_owl.current", "night_owl.ever"),
    }


def cents(amount: float) -> int:
    return round(amount * 100)
