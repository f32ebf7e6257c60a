"""Rules and dashboard ask for numbers that the services tell, and every alert leads to a page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from chassis.telemetry import Metrics
from deploy.local.contracts import ROOT
from services.tagging.adapters.refresh_watch import Drift
from tests.operations.monitoring import EXPRESSIONS, PANELS, RULES, Asked, Told, asked, untold

PAGES = ROOT / "docs" / "operations"
OF_PROMETHEUS = {"service", "role", "pod", "job", "le"}  # deploy/monitoring/scrape.yaml gives the first three


def told() -> dict[str, set[str]]:
    """Every series of ours by its name, with its labels."""
    found: dict[str, set[str]] = {}
    parts = (*vars(Metrics()).values(), *vars(Drift(CollectorRegistry())).values())
    for metric in (value for value in parts if hasattr(value, "describe")):
        (described,) = metric.describe()
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(described.type, ("",))
        found |= {f"{described.name}{suffix}": set(metric._labelnames) for suffix in suffixes}
    return found


def complaints(expression: str) -> Iterator[str]:
    """Which series and which labels of an expression nobody tells."""
    series = told()
    used = re.findall(r"\b(scrm_\w+|up)(?:\{([^}]*)\})?", expression)
    labels: set[str] = set(OF_PROMETHEUS)
    for name, selectors in used:
        if name != "up" and name not in series:
            yield name
        known = series.get(name, set()) | OF_PROMETHEUS
        labels |= known
        yield from (it for it in re.findall(r"(\w+)\s*[=!]~?", selectors) if it not in known)
    for grouped in re.findall(r"\bby \(([^)]*)\)", expression):
        yield from (it for it in re.split(r",\s*", grouped) if it not in labels)
    if not used:
        yield expression


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_asks_for_what_the_services_tell(expression: str) -> None:
    assert list(complaints(expression)) == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("scrm_lags > 0", "scrm_lags"),
        ("rate(scrm_commands[1m])", "scrm_commands"),
        ('scrm_lag{king="consumer"}', "king"),
        ("sum by (service, rpc) (scrm_lag)", "rpc"),
        ("vector(1)", "vector(1)"),
    ],
)
def test_what_nobody_tells_is_noticed(expression: str, wrong: str) -> None:
    assert list(complaints(expression)) == [wrong]


def test_a_series_that_no_running_process_tells_is_noticed() -> None:
    """Beside the stack of tests/contracts/test_answers.py, which is asked for all of them."""
    wanted = asked(['max by (loop) (scrm_lag{kind=~"consumer|timers"}) > 0', "rate(scrm_events_total[1m])"])

    assert wanted == {Asked("scrm_lag", ("consumer", "timers")), Asked("scrm_events_total", ())}
    assert set(untold(wanted, [Told("scrm_lag", {"kind": "consumer"})])) == {"scrm_lag of timers", "scrm_events_total"}


def test_everything_the_services_tell_is_on_the_dashboard() -> None:
    shown = " ".join(target["expr"] for it in PANELS for target in it["targets"])

    families = {re.sub(r"_(total|bucket|sum|count)$", "", name) for name in told()}
    assert {it for it in families if it not in shown} == set()


@pytest.mark.parametrize("rule", RULES, ids=lambda it: str(it["alert"]))
def test_an_alert_leads_to_a_page(rule: dict[str, Any]) -> None:
    page = ROOT / rule["annotations"]["runbook"]

    assert page.parent == PAGES
    assert page.read_text().startswith("# ")


def test_pages_are_listed_and_link_to_what_exists() -> None:
    index = (PAGES / "README.md").read_text()
    for page in PAGES.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in index
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (PAGES / link).exists(), f"{page.name}: {link}"


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda it: it.stem)
def test_pages_name_workloads_tables_and_targets_that_exist(page: Path) -> None:
    text = page.read_text()
    rendered = "".join(path.read_text() for path in (ROOT / "deploy" / "k8s").rglob("*.yaml"))
    for name in re.findall(r"\b(?:deploy|statefulset|job)/([\w-]+)(?![\w/-])", text):
        assert f"name: {name}\n" in rendered, name
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)", text):
        assert f"\n{target}:" in makefile, target
