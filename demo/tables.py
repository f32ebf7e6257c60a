"""The report as tables, for people: in Markdown and on a terminal."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.padding import Padding
from rich.table import Table

from demo.behaviour_tables import behaviour_sheets
from demo.layer_tables import layer_sheets
from demo.sheets import Sheet, count, money, percent, points


def markdown(report: Mapping[str, Any]) -> str:
    """The whole report as one Markdown page."""
    scale = "one customer in ten" if report["smoke"] else "all customers"
    blocks = [f"# The main job ({scale})"]
    for sheet in sheets(report):
        head = "| " + " | ".join(sheet.columns) + " |\n|---" + "|---:" * (len(sheet.columns) - 1) + "|"
        body = "\n".join("| " + " | ".join(it.replace("|", "\\|") for it in row) + " |" for row in sheet.rows)
        blocks += [f"## {sheet.title}", f"{head}\n{body}"] + ([sheet.note] if sheet.note else [])
    return "\n\n".join(blocks) + "\n"


def show(report: Mapping[str, Any], console: Console) -> None:
    """The whole report on a terminal."""
    for sheet in sheets(report):
        table = Table(title=sheet.title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 0, 0, 1), show_edge=False)
        for number, column in enumerate(sheet.columns):
            table.add_column(column, justify="right" if number else "left", no_wrap=True)
        for row in sheet.rows:
            table.add_row(*row)
        console.print(table)
        console.print(Padding(sheet.note, (0, 0, 1 if sheet.note else 0, 1)), style="dim")


def sheets(report: Mapping[str, Any]) -> Iterator[Sheet]:
    """All tables of a report."""
    yield _facts(report)
    yield _ingestion(report["ingestion"])
    yield _segments("RFM as of the day of the decision", report["checkpoint_a"])
    yield _arms(report["audience"], report["experiment"])
    yield _uplift(report["experiment"])
    yield _segments("RFM of the real orders", report["rfm"]["real"])
    yield _segments("RFM with what referred people ordered", report["rfm"]["with_referred"])
    yield from layer_sheets(report)
    yield from behaviour_sheets(report)
    yield _membership(report["membership"])
    yield _erasure(report["erasure"])
    yield _timings(report["timings"])


def _facts(report: Mapping[str, Any]) -> Sheet:
    orders, identity, owls = report["orders"], report["identity"], report["night_owl"]
    rows = [
        ("orders paid", count(orders["rows"])),
        ("their net amount", money(orders["net"])),
        ("purchase occasions", count(orders["purchase_occasions"])),
        ("customers known", count(identity["known_customers"])),
        ("customers anonymous", count(identity["anonymous_customers"])),
        ("profiles that were anonymous at first", count(identity["anonymous_created"])),
        ("profiles merged", count(identity["merges"])),
        ("devices shared by many", count(identity["shared_devices"])),
        ("customers ever tagged night owl", count(owls["ever"])),
    ]
    return Sheet("Orders and customers", ("", "count"), rows)


def _ingestion(found: Mapping[str, Any]) -> Sheet:
    outcomes = ("submitted", "accepted", "duplicate", "quarantined", "rejected")
    rows = [(name, *(count(counts.get(it, 0)) for it in outcomes)) for name, counts in found["by_type"].items()]
    rows.append(("all", *(count(found[it]) for it in outcomes)))
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found["quarantined_by_reason"].items()))
    return Sheet("Behaviours received", ("type", *outcomes), rows, f"Quarantined: {reasons}. Late: {found['late']:,}.")


def _segments(title: str, found: Mapping[str, Any]) -> Sheet:
    rows = [
        (
            name,
            count(it["customers"]),
            percent(it["customers_share"]),
            money(it["net"]),
            percent(it["net_share"]),
            f"{it['average_recency_days']:.1f}",
            f"{it['average_frequency']:.2f}",
            f"{it['average_monetary']:.2f}",
        )
        for name, it in found["segments"].items()
    ]
    cuts = found["cuts"]
    types = ", ".join(f"{name} {count:,}" for name, count in found["types"].items())
    note = (
        f"{found['n']:,} customers; R, F and M are averages. Cuts: R {cuts['R']}, F {cuts['F']}, M {cuts['M']}."
        f" Types: {types}."
    )
    columns = ("segment", "customers", "%", "net", "%", "R", "F", "M")
    return Sheet(f"{title} ({found['as_of']})", columns, rows, note)


def _arms(audience: Mapping[str, Any], found: Mapping[str, Any]) -> Sheet:
    week, whole = found["decision_window"]["variants"], found["observation_window"]["variants"]
    rows = [
        (
            name,
            count(assigned),
            count(found["sent"][name]),
            count(week[name]["converted"]),
            percent(week[name]["rate"], 2),
            count(whole[name]["converted"]),
            percent(whole[name]["rate"], 2),
        )
        for name, assigned in found["arms"].items()
    ]
    ratio = found["sample_ratio"]
    note = (
        f"{audience['snapshot_size']:,} in the audience, {found['global_control']:,} of them kept out by the global control."
        f" The split is {ratio['health']} (χ² {ratio['chi_square']:.2f}, p {ratio['p_value']:.3f})."
    )
    columns = ("variant", "assigned", "sent", "buyers in 7 d", "%", "buyers in 38 d", "%")
    return Sheet(f"The broadcast {found['experiment_id']}", columns, rows, note)


def _uplift(found: Mapping[str, Any]) -> Sheet:
    decision = found["decision_window"]
    rows = [
        (
            f"{name} ({window})",
            points(it["difference"]),
            f"[{points(it['low'])}, {points(it['high'])}]",
            f"{it['p_value']:.3f}",
            f"{it['incremental']:.1f}",
            f"[{it['incremental_low']:.1f}, {it['incremental_high']:.1f}]",
        )
        for window, key in (("7 d", "decision_window"), ("38 d", "observation_window"))
        for name, it in found[key]["uplift"].items()
    ]
    verdict = "Nobody won" if decision["inconclusive"] else f"The winner is {decision['winner']}"
    note = (
        f"{verdict}; leader {decision['leader'] or 'none'}. These are the real orders of people whom no message ever"
        " reached, so an effect here would be a false one."
    )
    columns = ("against the hold-out", "points", "95 %", "p", "persons", "95 %")
    return Sheet("What the broadcast caused", columns, rows, note)


def _membership(found: Mapping[str, Any]) -> Sheet:
    names = ("members", "lots", "earned_points", "expired_points", "active_points", "accounts_with_positive_balance")
    rows = [(name.replace("_", " "), count(found[name])) for name in names]
    verdict = "adds up in every account" if found["ledger_identity_holds"] else "DOES NOT ADD UP"
    return Sheet("Membership", ("", "count"), rows, f"The ledger {verdict}.")


def _erasure(found: Mapping[str, Any]) -> Sheet:
    names = ("customers", "nodes", "identifiers_released", "keys_destroyed")
    rows = [(name.replace("_", " "), count(found[name])) for name in names]
    rows += [(path, f"{before} → {after}") for path, (before, after) in found["changed"].items()]
    left = ", ".join(found["canaries_left"]) or "nowhere"
    verdict = "hold" if found["certificates_hold"] else "DO NOT HOLD"
    note = f"Everything else is as it was. What they were known by is {left} any more. The certificates {verdict}."
    return Sheet("Customers erased afterwards", ("", "count"), rows, note)


def _timings(found: Mapping[str, Any]) -> Sheet:
    rows = [(phase, f"{seconds:.1f}") for phase, seconds in found["seconds"].items()]
    rows.append(("all", f"{found['total_seconds']:.1f}"))
    used = ", ".join(f"{name} {seconds:.0f}" for name, seconds in found["processor_seconds"].items())
    note = f"{found['facts']:,} facts, {found['facts_per_second']:,} a second. Processor seconds: {used}."
    return Sheet("How long it took", ("phase", "seconds"), rows, note)
