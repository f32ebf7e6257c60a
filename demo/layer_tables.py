"""The tables about layers: transitions in the brand pyramid, and the explanation of one customer."""

from collections.abc import Iterator, Mapping
from typing import Any

from demo.sheets import Sheet, count, percent


def layer_sheets(report: Mapping[str, Any]) -> Iterator[Sheet]:
    for it in report["pyramid"]["reports"]:
        yield _transitions(it)
    explained = report["explanation"]
    yield Sheet("One customer in words", ("",), [(sentence,) for sentence in explained["words"]])


def _transitions(found: Mapping[str, Any]) -> Sheet:
    """Rows from, columns to."""
    layers = [it for it, customers in found["after"].items() if customers or it != "NONE"]
    rows = [_row(layer, it, layers) for layer, it in found["rows"].items() if it["customers"]]
    rows.append(("to", *(count(found["after"][it]) for it in layers), count(sum(found["after"].values())), "", "", ""))
    reach = ", ".join(f"{layer} {it['customers']:,}" for layer, it in found["reach"].items())
    columns = ("from", *layers, "total", "% up", "% churn", "% won back")
    note = (
        f"Reach at the end: {reach}. What referred people ordered is in it. Nobody tells yet that a referral succeeded, so that"
        " L6 is empty."
    )
    return Sheet(f"Brand pyramid, {found['from']} to {found['to']}", columns, rows, note)


def _row(layer: str, found: Mapping[str, Any], layers: list[str]) -> tuple[str, ...]:
    moves = (count(found["moves"].get(it, 0)) for it in layers)
    rates = (percent(found[it]) for it in ("upward_rate", "churn_rate", "win_back_rate"))
    return (layer, *moves, count(found["customers"]), *rates)
