"""The judge itself: it sees what is lost, what is there twice and what nobody asked for, and a verdict passes for nothing less."""

import json
import socket
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pytest

from faults import read_models, verdict
from faults.cutting_proxy import Cut, CuttingProxy
from faults.journal import Journal
from faults.verdict import Control, Scale, Verdict

GOOD = Verdict(fault="f", done="", acknowledged=1, lost=0, doubled=0, control=Control("c", "caught", fails=True))


def journal() -> Journal:
    made = Journal()
    made.acknowledged(made.asked("order", "a"), "yes")
    made.acknowledged(made.asked("order", "b"), "yes")
    made.asked("order", "c")
    made.acknowledged(made.asked("grant", "g"), "yes")
    return made


@pytest.mark.parametrize("shown", [["a", "b"], ["a", "b", "c"]])
def test_what_was_not_acknowledged_may_be_there_or_not(shown: list[str]) -> None:
    finding = journal().compare("order", shown)
    assert (finding.lost, finding.doubled) == ([], [])


def test_what_was_acknowledged_and_is_not_there_is_lost() -> None:
    assert journal().compare("order", ["a", "c"]).lost == ["order b"]


@pytest.mark.parametrize(
    ("shown", "doubled"),
    [(["a", "b", "b"], "order b"), (["a", "b", "c", "c"], "order c"), (["a", "b", "x"], "order x")],
)
def test_what_is_there_twice_or_was_never_asked_for_is_doubled(shown: list[str], doubled: str) -> None:
    assert journal().compare("order", shown).doubled == [doubled]


def test_the_same_thing_is_asked_once_only() -> None:
    with pytest.raises(ValueError, match="has been asked already"):
        journal().asked("order", "a")


def test_a_read_model_that_is_another_one_is_a_problem() -> None:
    before = {"identity/customers": "1", "membership/points": "2"}
    finding = read_models.compare(before, before | {"membership/points": "3"}, "rebuilt")
    assert finding.problems == ["the read model membership/points is another one rebuilt"]


@pytest.mark.parametrize(
    "worse",
    [
        replace(GOOD, lost=1),
        replace(GOOD, doubled=1),
        replace(GOOD, problems=["something"]),
        replace(GOOD, slow=["something"]),
        replace(GOOD, worst=5.1, bar=5),
        replace(GOOD, control=replace(GOOD.control, fails=False)),
    ],
)
def test_a_verdict_with_any_fault_does_not_pass(worse: Verdict) -> None:
    assert GOOD.passed
    assert not worse.passed


def test_verdicts_are_written_for_machines(tmp_path: Path) -> None:
    verdict.write([GOOD, replace(GOOD, fault="g", lost=1)], Scale.SMALL, tmp_path / "faults.json")
    written = json.loads((tmp_path / "faults.json").read_text())
    assert (written["passed"], written["scale"]) == (False, "small")
    assert {name: it["passed"] for name, it in written["faults"].items()} == {"f": True, "g": False}


@pytest.mark.parametrize(
    ("cut", "got_there", "was_told"), [(Cut.NOT, True, True), (Cut.BEFORE, False, False), (Cut.AFTER, True, False)]
)
def test_the_proxy_cuts_where_it_is_told_to(cut: Cut, got_there: bool, was_told: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        arrived: list[bytes] = []

        def answer() -> None:
            connection, _ = server.accept()
            arrived.append(connection.recv(100))
            if arrived[0]:
                connection.sendall(b"C....COMMIT\x00")

        serving = Thread(target=answer)
        serving.start()
        port = server.getsockname()[1]
        with CuttingProxy(port, lambda: cut) as proxy, socket.create_connection(("127.0.0.1", proxy.port)) as client:
            client.sendall(b"Q....COMMIT\x00")
            client.settimeout(10)
            told = client.recv(100)
        serving.join(10)
    assert bool(arrived[0]) is got_there
    assert bool(told) is was_told
    assert proxy.cuts[cut] == 1
