"""What the code of the services says about itself: which roles have work, which variables are read, which services are called."""

import ast
import json
from collections.abc import Callable, ItemsView, Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from chassis.roles import LOOPS
from chassis.service import EDGE, SERVE, Service
from chassis.settings import ChassisSettings
from chassis.telemetry import Tracing
from deploy.local.contracts import ROOT
from services.campaigns.settings import Settings as Campaigns
from services.identity.settings import Settings as Identity
from services.tagging.settings import Settings as Tagging
from services.tracking.settings import Settings as Tracking

EVERY = "*"
SETTINGS: Mapping[str, Callable[[Mapping[str, str]], Any]] = {
    "identity": Identity.from_environment,
    "tracking": Tracking.from_environment,
    "tagging": Tagging.from_environment,
    "membership": lambda environment: ChassisSettings.from_environment("membership", environment),
    "campaigns": Campaigns.from_environment,
}


def needed(folder: Path) -> dict[str, str]:
    """The fewest variables with which the settings of any service are complete."""
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"newest": "1", "keys": {"1": "ab" * 32}}))
    return {
        "SCRM_DATABASE_URL": "postgresql://writer@db/x",
        "SCRM_IDENTITY_HASH_KEY": "h" * 32,
        "SCRM_IDENTITY_KEYS": str(keys),
        "SCRM_TRACKING_KEYS": str(keys),
    }


class _Watched(Mapping[str, str]):
    """An environment that remembers what was asked of it."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.asked: set[str] = set()

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return self._environment[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environment)

    def __len__(self) -> int:
        return len(self._environment)

    def items(self) -> ItemsView[str, str]:
        """A look at all of it, as for the addresses, asks for nothing in particular."""
        return self._environment.items()


def variables_read(service: str, folder: Path) -> set[str]:
    """Every variable that the settings of the service ask for, but for the addresses of other services."""
    watched = _Watched(needed(folder))
    SETTINGS[service](watched)
    return watched.asked


def tracing_variables(service: str) -> set[str]:
    """The standard variables of OpenTelemetry that turn tracing on; an installation may set them."""
    watched = _Watched({"OTEL_TRACES_EXPORTER": "none"})
    Tracing.from_environment(service, watched)
    return watched.asked


def roles_with_work(service: str, folder: Path) -> set[str]:
    """The roles of the service that do anything."""
    made: Service = import_module(f"services.{service}.service").service(SETTINGS[service](needed(folder)))
    default = Service.__dataclass_fields__["subscriptions"].default
    has = {
        "project": bool(made.projections),
        "timers": bool(made.timers),
        "consume": made.subscriptions is not default,
        "relay": made.publish is not None,
    }
    assert has.keys() == LOOPS.keys()
    return {it for it in made.roles if has.get(it, True)}


def calls(service: str) -> dict[str, set[str]]:
    """Which services each role calls: the `kit.channel("…")` reached from what `Service(...)` is given for the role.

    Whoever is handed `kit.channel` itself calls all the others.
    """
    return calls_in(service, (ROOT / "services" / service / "service.py").read_text())


def calls_in(service: str, source: str) -> dict[str, set[str]]:
    tree = ast.parse(source)
    functions = {it.name: it for it in ast.walk(tree) if isinstance(it, ast.FunctionDef)}
    (made,) = [it for it in ast.walk(tree) if isinstance(it, ast.Call) and _is_name(it.func, "Service")]
    given = {it.arg: it.value for it in made.keywords if it.arg}
    of_role: dict[str, ast.AST] = {}
    for argument, role in {
        "servicers": SERVE,
        "edge": EDGE,
        "subscriptions": "consume",
        "public_logs": "relay",
    }.items():
        if argument in given:
            of_role[role] = given[argument]
    loops = given.get("loops")
    if isinstance(loops, ast.Dict):
        of_role |= {
            str(ast.literal_eval(key)): value for key, value in zip(loops.keys, loops.values, strict=True) if key
        }
    others = set(SETTINGS) - {service}
    found = {role: _channels(node, functions, set()) for role, node in of_role.items()}
    return {role: others if EVERY in it else it for role, it in found.items() if it}


def _channels(node: ast.AST, functions: Mapping[str, ast.FunctionDef], seen: set[str]) -> set[str]:
    found: set[str] = set()
    called = {id(it.func): it for it in ast.walk(node) if isinstance(it, ast.Call)}
    for it in ast.walk(node):
        if isinstance(it, ast.Attribute) and it.attr == "channel":
            call = called.get(id(it))
            found.add(str(ast.literal_eval(call.args[0])) if call else EVERY)
        if isinstance(it, ast.Name) and it.id in functions and it.id not in seen:
            seen.add(it.id)
            found |= _channels(functions[it.id], functions, seen)
    return found


def _is_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name
