"""Golden samples: what every event looks like in the database, frozen, so that tomorrow's code still reads it.

`python -m tests.contracts.stored_events` writes a file for each stored topic and version that has none yet, and never
touches one that is there. A file holds samples as stored: a plain one and a full one, made from the annotations of the
event. When an event changes, its class_version goes up, its upcaster is written, and a new file joins the old one.
"""

import dataclasses
import importlib
import json
import pkgutil
import types
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from eventsourcing.persistence import StoredEvent

import services
from chassis.aggregate import Event, event_classes
from chassis.event_store import EventMapper
from chassis.log import Recorded

FOLDER: Final = Path(__file__).parent / "golden"
AGGREGATE: Final = UUID("0192d3c4-0000-7000-8000-000000000001")

# Text that its owner reads as something more than text, by the name of the field.
WORDS: Final[Mapping[str, str]] = {
    "tenant": "acme",
    "currency": "CNY",
    "zone": "Asia/Shanghai",
    "time_zone": "Asia/Shanghai",
}
_PLAIN: Final[Mapping[type, tuple[Any, Any]]] = {
    str: ("a", "b c"),
    int: (1, 7),
    float: (0.5, 2.25),
    bool: (False, True),
    UUID: ("0192d3c4-0000-7000-8000-00000000000a", "0192d3c4-0000-7000-8000-00000000000b"),
    datetime: ("1998-01-05T00:00:00+00:00", "1998-07-01T12:30:00.123456+00:00"),
    date: ("1998-01-05", "1998-07-01"),
    Decimal: ("1.50", "20"),
    bytes: ("00ff", "ab"),
}


@cache
def stored_classes() -> Mapping[str, type[Event]]:
    """Every event class of every service, by topic."""
    for module in pkgutil.walk_packages(services.__path__, "services."):
        if ".domain" in module.name:
            importlib.import_module(module.name)
    return {topic: it for topic, it in event_classes().items() if it.__module__.startswith("services.")}


def service_of(event_class: type) -> str:
    return event_class.__module__.split(".")[1]


def version_of(event_class: type) -> int:
    return int(getattr(event_class, "class_version", 1))


def path_of(topic: str, version: int, folder: Path = FOLDER) -> Path:
    return folder / f"{topic}.v{version}.json"


def missing(classes: Mapping[str, type[Event]], folder: Path = FOLDER) -> list[str]:
    """The stored topics, with their version, that have no golden sample."""
    versions = [(topic, it) for topic, kind in classes.items() for it in range(1, version_of(kind) + 1)]
    return [f"{topic} v{it}" for topic, it in versions if not path_of(topic, it, folder).exists()]


def states(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text())
    return found


def load(topic: str, state: Mapping[str, Any]) -> Recorded:
    """The event as the event store would hand it out."""
    stored = StoredEvent(AGGREGATE, 1, topic, json.dumps(state).encode())
    event, context = EventMapper().read(stored)
    return Recorded(position=1, event=event, context=context)


def samples(event_class: type[Event]) -> list[dict[str, Any]]:
    """Stored forms of an event as its annotations allow: bare, and with everything in it."""
    hints = get_type_hints(event_class)
    fields = [it.name for it in dataclasses.fields(event_class) if not it.name.startswith("originator_")]
    version = version_of(event_class)
    return [
        {
            **{name: _json(hints[name], name, full) for name in fields},
            **({"class_version": version} if version > 1 else {}),
            "_context": ["acme", "developer", None, None, None, None],
        }
        for full in (False, True)
    ]


def _json(hint: Any, name: str, full: bool, inside: frozenset[Any] = frozenset()) -> Any:
    """A value of type `hint` as JSON: something or nothing, the second or the first of what there is."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        chosen = next(it for it in arguments if it is not type(None))
        return _json(chosen, name, full, inside) if full or type(None) not in arguments else None
    if origin is tuple and len(arguments) == 2 and arguments[1] is not Ellipsis:
        return [_json(it, name, full, inside) for it in arguments]
    if origin in (list, tuple, set, frozenset) or (origin is not None and origin.__module__ == "collections.abc"):
        return [_json(arguments[0], name.removesuffix("s"), full, inside)] if full else []
    if origin is dict:
        key, value = arguments
        return {str(_json(key, "key", full)): _json(value, name, full, inside)} if full else {}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [it.value for it in hint][-1 if full else 0]
    if dataclasses.is_dataclass(hint):
        inner, full = get_type_hints(hint), full and hint not in inside  # one that holds itself holds itself once
        fields = [it.name for it in dataclasses.fields(hint)]
        return {it: _json(inner[it], it, full, inside | {hint}) for it in fields}
    if hint is str and name in WORDS:
        return WORDS[name]
    return _PLAIN[hint][full]


def write_missing(classes: Mapping[str, type[Event]], folder: Path = FOLDER) -> Iterable[Path]:
    for topic, event_class in sorted(classes.items()):
        path = path_of(topic, version_of(event_class), folder)
        if not path.exists():
            path.write_text(json.dumps(samples(event_class), indent=1, ensure_ascii=False) + "\n")
            yield path


def publisher_of(service: str) -> tuple[Callable[[Recorded], Any], frozenset[type]]:
    """`publish` and `PRIVATE` of a service."""
    module = importlib.import_module(f"services.{service}.application.published_events")
    return module.publish, module.PRIVATE


if __name__ == "__main__":
    for written in write_missing(stored_classes()):
        print(written.relative_to(Path.cwd()))
