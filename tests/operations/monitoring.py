"""What rules and dashboard ask for, series by series, and what processes tell."""

import json
import re
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import yaml
from prometheus_client.parser import text_string_to_metric_families

from deploy.local.contracts import ROOT

FOLDER = ROOT / "deploy" / "monitoring"
RULES: list[dict[str, Any]] = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"][0]["rules"]
PANELS: list[dict[str, Any]] = json.loads((FOLDER / "dashboard.json").read_text())["panels"]
EXPRESSIONS = [it["expr"] for it in RULES] + [target["expr"] for it in PANELS for target in it["targets"]]


class Told(NamedTuple):
    """One sample of a process."""

    name: str
    labels: Mapping[str, str]


class Asked(NamedTuple):
    """One series of an expression: its name, and the values of `kind` that it wants; other labels say how things went."""

    name: str
    kinds: tuple[str, ...]


def asked(expressions: Iterable[str]) -> set[Asked]:
    """The series of ours in `expressions`."""
    found: set[Asked] = set()
    for expression in expressions:
        for name, selectors in re.findall(r"\b(scrm_\w+)(?:\{([^}]*)\})?", expression):
            wanted = re.search(r'\bkind=~?"([^"]*)"', selectors)
            found.add(Asked(name, tuple(wanted[1].split("|")) if wanted else ()))
    return found


def scraped(address: str) -> list[Told]:
    """What the process at `address`, such as 127.0.0.1:9464, tells Prometheus."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return [Told(sample.name, sample.labels) for family in families for sample in family.samples]


def untold(wanted: Iterable[Asked], told: Iterable[Told]) -> Iterator[str]:
    """Which of the series, with which kind, no process tells."""
    names = {it.name for it in told}
    kinds = {(it.name, it.labels.get("kind")) for it in told}
    for it in wanted:
        if it.name not in names:
            yield it.name
        yield from (f"{it.name} of {kind}" for kind in it.kinds if (it.name, kind) not in kinds)
