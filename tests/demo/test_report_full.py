"""The report of a full run of the main job against the specification and against the raw file.

A full run takes minutes, so `make demo` does it and this reads what it left in build/demo; SCRM_DEMO_REPORT names another folder.
"""

import json
import os
from pathlib import Path

import pytest

from demo.dataset import Order
from demo.driver import FOLDER
from demo.people import Person
from demo.prospects import Prospect
from demo.touches import Touch
from tests.demo.judging import Findings, Story, judge


@pytest.fixture(scope="module")
def findings(orders: list[Order], everybody: list[Person], strangers: list[Prospect], touches: list[Touch]) -> Findings:
    folder = Path(os.environ.get("SCRM_DEMO_REPORT", FOLDER))
    if not (folder / "report.json").exists():
        pytest.skip(f"no report in {folder}: run `make demo` first")
    if json.loads((folder / "report.json").read_text())["smoke"]:
        pytest.skip(f"the report in {folder} is of one customer in ten: run `make demo` first")
    return Findings.read(folder, Story(orders, everybody, strangers, touches))


def test_everything_agrees_with_a_second_computation_from_the_raw_file(findings: Findings) -> None:
    assert len(findings.rfm_rows) == 23_502
    judge(findings)


def test_orders_are_those_of_the_file(findings: Findings) -> None:
    assert (findings.report["orders"]["rows"], findings.report["orders"]["net"]) == (69_659, 2_500_315.63)


def test_behaviours_are_those_of_the_specification(findings: Findings) -> None:
    found = findings.report["ingestion"]
    accepted = {name: it["accepted"] for name, it in found["by_type"].items()}
    assert accepted == {
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
    assert found["quarantined_by_reason"] == {"TOO_LATE": 158, "NO_IDENTITY": 10}
    assert found["submitted"] == 190_952 + 10  # the 10 of nobody are counted apart
    assert (found["accepted"], found["duplicate"]) == (187_089, 3_705)
    assert (found["late"], found["rejected"]) == (1_850, 0)


def test_identities_are_those_of_the_specification(findings: Findings) -> None:
    found = findings.report["identity"]
    assert (found["anonymous_created"], found["known_created"], found["merges"]) == (34_236, 11, 4_679)
    assert (found["known_customers"], found["anonymous_customers"]) == (23_570 + 1_192, 4_806)
    assert found["known_customers"] + found["anonymous_customers"] == 29_568
    assert found["shared_devices"] == 13


def test_rfm_at_the_end_is_that_of_the_specification(findings: Findings) -> None:
    found = findings.report["rfm"]["real"]
    assert found["n"] == 23_502
    assert found["cuts"] == {"R": [141, 431, 485, 513], "F": [1, 1, 2, 4], "M": [15.36, 31.54, 60.05, 134.29]}
    types = {"HHH": 8_797, "HLH": 0, "LHH": 1_713, "LLH": 3_587, "HHL": 611, "HLL": 1, "LHL": 392, "LLL": 8_401}
    assert found["types"] == types
    champions = found["segments"]["CHAMPIONS"]
    assert champions["customers"] == 4_117
    assert (round(champions["customers_share"], 3), round(champions["net_share"], 3)) == (0.175, 0.518)


def test_single_customers_are_those_of_the_specification(findings: Findings) -> None:
    scores = {key: row["scores"] for key, row in findings.rfm_rows.items()}
    assert (scores["cdnow:00003"], scores["cdnow:00002"], scores["cdnow:00001"]) == ("5-5-5", "1-1-4", "1-1-1")


def test_rfm_on_the_day_of_the_decision_is_that_of_the_specification(findings: Findings) -> None:
    found = findings.report["checkpoint_a"]
    assert found["n"] == 23_502
    assert found["cuts"] == {"R": [112, 288, 313, 337], "F": [1, 1, 2, 3], "M": [15.36, 29.73, 53.42, 111.61]}
    assert {name: it["customers"] for name, it in found["segments"].items()} == {
        "CHAMPIONS": 3_748,
        "LOYAL": 2_323,
        "POTENTIAL_LOYALIST": 3_113,
        "NEW": 1,
        "PROMISING": 429,
        "NEED_ATTENTION": 594,
        "ABOUT_TO_SLEEP": 4_097,
        "AT_RISK": 711,
        "CANT_LOSE": 25,
        "HIBERNATING": 8_461,
    }


def test_audience_and_arms_are_those_of_the_specification(findings: Findings) -> None:
    found = findings.report["experiment"]
    assert findings.report["audience"]["snapshot_size"] == 13_888
    assert found["global_control"] == 710
    assert found["arms"] == {"holdout": 1_341, "A": 1_958, "B": 2_048, "remainder": 7_831}
    ratio = found["sample_ratio"]
    assert (round(ratio["chi_square"], 2), round(ratio["p_value"], 3), ratio["health"]) == (3.88, 0.274, "OK")
    assert found["decision_window"]["variants"]["holdout"]["converted"] == 8
    assert found["observation_window"]["variants"]["holdout"]["converted"] == 32


def test_memberships_are_those_of_the_specification(findings: Findings) -> None:
    found = findings.report["membership"]
    assert found["members"] == 5_792
    assert (found["lots"], found["earned_points"], found["expired_points"]) == (29_101, 1_428_386, 551_760)
    assert (found["active_points"], found["accounts_with_positive_balance"]) == (876_626, 4_618)
    assert (found["accounts_with_broken_ledger"], found["ledger_identity_holds"]) == (0, True)


def test_night_owls_are_those_of_the_specification(findings: Findings) -> None:
    assert findings.report["night_owl"]["ever"] == 1_401


def test_insights_are_those_of_the_specification(findings: Findings) -> None:
    assert findings.report["insights"]["REPEAT_READER_UNREGISTERED"]["customers"] == 68


def test_the_pyramid_begins_as_in_the_specification_and_strangers_and_advocates_climb_it_so(findings: Findings) -> None:
    """Only what comes of buyers without friends differs, by the orders that campaigns cause."""
    half, first, second = findings.report["pyramid"]["reports"]
    before = {layer: row["customers"] for layer, row in half["rows"].items() if row["customers"]}
    assert before == {"L1": 65, "L3": 13_015, "L4": 4_547, "L5": 5_940, "OUT": 3, "NONE": 5_998}
    assert half["rows"]["NONE"]["moves"] == {"L1": 4_353, "L2": 1_189, "L3": 456}
    assert half["rows"]["L1"]["moves"] == {"L1": 5, "OUT": 60}
    assert half["rows"]["OUT"]["moves"] == {"OUT": 3}
    advocates = {layer: row["moves"].get("L6", 0) for layer, row in half["rows"].items() if row["moves"].get("L6")}
    assert advocates == {"L3": 16, "L4": 54, "L5": 262}
    assert sum(half["after"].values()) == 29_568
    assert {layer: half["after"][layer] for layer in ("L1", "L2", "L3", "L6", "OUT")} == {
        "L1": 4_358,
        "L2": 1_189,
        "L3": 457,
        "L6": 332,
        "OUT": 63,
    }
    assert {layer: first["after"][layer] for layer in ("L1", "L2", "L3", "L6", "OUT")} == {
        "L1": 1_592,
        "L2": 1_377,
        "L3": 220,
        "L6": 176,
        "OUT": 63,
    }
    assert (second["rows"]["L2"]["moves"]["L3"], second["rows"]["L2"]["customers"]) == (28, 1_377)
    assert second["rows"]["LAPSED"]["moves"]["L6"] == 9


def test_the_pyramid_differs_from_the_specification_by_nothing_but_those_whom_no_campaign_brought_back(
    findings: Findings,
) -> None:
    """The 396 orders that its campaign causes move buyers up, or keep them from lapsing; here no message reaches anybody."""
    half = findings.report["pyramid"]["reports"][0]["rows"]
    specified = {
        "L3": {"L3": 1, "L4": 1_083, "L5": 267, "L6": 16, "LAPSED": 11_648},
        "L4": {"L4": 1_281, "L5": 993, "L6": 54, "LAPSED": 2_219},
        "L5": {"L5": 4_748, "L6": 262, "LAPSED": 930},
    }
    differences = {
        layer: {to: half[layer]["moves"].get(to, 0) - n for to, n in moves.items()}
        for layer, moves in specified.items()
    }
    assert differences == {
        "L3": {"L3": 0, "L4": -328, "L5": -12, "L6": 0, "LAPSED": 340},
        "L4": {"L4": -3, "L5": -29, "L6": 0, "LAPSED": 32},
        "L5": {"L5": -1, "L6": 0, "LAPSED": 1},
    }


def test_those_who_tell_their_friends_are_those_of_the_specification(findings: Findings) -> None:
    found = findings.report["referrals"]
    assert (found["holders"], found["sharers"], found["referrers"]) == (1_135, 1_135, 386)
    assert found["referrers_by_successes"] == {"1": 325, "2": 52, "3": 9}
    assert (found["converted"], found["invited"], round(found["conversion_rate"], 3)) == (456, 1_192, 0.383)


def test_referred_people_are_scored_with_the_others(findings: Findings) -> None:
    found = findings.report["rfm"]["with_referred"]
    assert found["n"] == 23_958
    assert round(found["net"] - findings.report["rfm"]["real"]["net"], 2) == 17_663.77
