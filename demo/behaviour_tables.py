"""The tables about behaviour: funnels on the purchase path, boards, and insights."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from demo.sheets import Sheet, count, percent

_HOUR: Final = 3_600
_DAY: Final = 24 * _HOUR


def behaviour_sheets(report: Mapping[str, Any]) -> Iterator[Sheet]:
    for it in report["funnels"]:
        yield _funnel(it)
    for board, stretches in report["boards"].items():
        yield _board(board, stretches)
    yield _insights(report["insights"])


def _funnel(found: Mapping[str, Any]) -> Sheet:
    rows = [
        (
            _words(it["node"]),
            count(it["customers"]),
            percent(it["step_rate"]),
            percent(it["overall_rate"]),
            count(it["dropped"]),
            _time(it["median_seconds"]),
        )
        for it in found["steps"]
    ]
    entries = ", ".join(
        f"{_words(node)} {it['missions'] + it['loyal_missions']:,} ({it['loyal_missions']:,} of customers who had bought)"
        for node, it in found["entries"].items()
    )
    note = f"{found['missions']:,} missions of {found['customers']:,} customers began in the time, at: {entries or 'none'}."
    title = f"Purchase path: {found['title']} ({found['from']} to {found['to']})"
    return Sheet(title, ("node", "customers", "% of step", "% of all", "dropped", "median time"), rows, note)


def _board(board: str, stretches: Mapping[str, Any]) -> Sheet:
    rows = [
        (f"{metric}, {name}", count(it["count"]), count(it["customers"]), _top(found["top"].get(metric, {})))
        for name, found in stretches.items()
        for metric, it in found["totals"].items()
    ]
    followers = sum(it["net_followers"] for it in stretches.values())
    note = f"Net followers: {followers:,}." if followers else ""
    return Sheet(f"Board: {_words(board)}", ("what", "count", "customers", "most often"), rows, note)


def _top(subjects: Mapping[str, int]) -> str:
    return ", ".join(f"{subject} {number:,}" for subject, number in subjects.items())


def _insights(found: Mapping[str, Any]) -> Sheet:
    rows = [(_words(name), count(it["insights"]), count(it["customers"])) for name, it in found.items()]
    return Sheet("Noticed by detectors", ("kind", "insights", "customers"), rows)


def _words(name: str) -> str:
    return name.lower().replace("_", " ")


def _time(seconds: int | None) -> str:
    if seconds is None:
        return "–"
    if seconds < _HOUR:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / _HOUR:.1f} h" if seconds < _DAY else f"{seconds / _DAY:.1f} d"
