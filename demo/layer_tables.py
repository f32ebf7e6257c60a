"""The tables about layers: transitions in the brand pyramid, who brought in whom, and the explanation of one customer."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from demo.sheets import Sheet, count, percent

_INDENT: Final = "\N{NO-BREAK SPACE}"


def layer_sheets(report: Mapping[str, Any]) -> Iterator[Sheet]:
    for it, audience in zip(report["pyramid"]["reports"], report["churned"], strict=True):
        yield _transitions(it, audience)
    yield _referrals(report["referrals"])
    explained = report["explanation"]
    for about in ("segment", "tag"):
        yield _words(explained["customer"], explained[about])


def _transitions(found: Mapping[str, Any], audience: Mapping[str, Any]) -> Sheet:
    """Rows from, columns to."""
    layers = [it for it, customers in found["after"].items() if customers or it != "NONE"]
    rows = [_row(layer, it, layers) for layer, it in found["rows"].items() if it["customers"]]
    rows.append(("to", *(count(found["after"][it]) for it in layers), count(sum(found["after"].values())), "", "", ""))
    reach = ", ".join(f"{layer} {it['customers']:,}" for layer, it in found["reach"].items())
    columns = ("from", *layers, "total", "% up", "% churn", "% won back")
    note = (
        f"Reach at the end: {reach}. What referred people ordered is in it. Every cell can be made an audience:"
        f" “{audience['name']}” has {audience['size']:,} customers."
    )
    return Sheet(f"Brand pyramid, {found['from']} to {found['to']}", columns, rows, note)


def _row(layer: str, found: Mapping[str, Any], layers: list[str]) -> tuple[str, ...]:
    moves = (count(found["moves"].get(it, 0)) for it in layers)
    rates = (percent(found[it]) for it in ("upward_rate", "churn_rate", "win_back_rate"))
    return (layer, *moves, count(found["customers"]), *rates)


def _referrals(found: Mapping[str, Any]) -> Sheet:
    rows = [
        ("customers who shared something or were named by a friend", count(found["sharers"])),
        ("customers named by a friend", count(found["named"])),
        ("friends who came because of somebody", count(found["invited"])),
        ("friends who ordered", count(found["converted"])),
        ("friends who ordered, %", percent(found["conversion_rate"])),
        ("customers with at least one friend who ordered", count(found["referrers"])),
    ]
    rows += [(f"customers with {n}", count(customers)) for n, customers in found["referrers_by_successes"].items()]
    return Sheet("Customers who tell their friends", ("", "count"), rows)


def _words(customer: str, found: Mapping[str, Any]) -> Sheet:
    """The words of an explanation, a line in a row; what belongs to the line before is indented."""
    rows = [(_indented(line),) for line in found["words"]]
    return Sheet(f"Customer {customer} of the shop and “{found['name']}”, in words", ("",), rows)


def _indented(line: str) -> str:
    text = line.lstrip(" ")
    return _INDENT * (len(line) - len(text)) + text
