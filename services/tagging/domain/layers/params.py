"""Rules for the parameters of models: bounds that hold whatever the model, each broken one named by its path."""

from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import date
from itertools import pairwise
from math import isfinite
from typing import Any, Final, Protocol, TypeVar, get_args, get_origin, get_type_hints

from services.tagging.domain.errors import ModelParams

LONGEST_WINDOW: Final = 3650
MOST_WEIGHTS: Final = 200


class Params(Protocol):
    """The parameters of one kind of model: a frozen dataclass with the defaults of the spec."""

    def check(self) -> None:
        """Raises ModelParams."""
        ...


P = TypeVar("P", bound=Params)


def read(kind: type[P], given: Mapping[str, Any]) -> P:
    """Parameters from plain values as they come over the wire; what is not given has its default. Raises ModelParams."""
    hints = get_type_hints(kind)
    known = {it.name for it in fields(kind)}  # type: ignore[arg-type]
    for name in given:
        if name not in known:
            raise bad(name, "there is no such parameter")
    found = kind(**{name: _value(name, hints[name], value) for name, value in given.items()})
    found.check()
    return found


def stated(params: Any) -> dict[str, Any]:
    """Parameters as plain values, which `read` reads."""
    return {it.name: _plain(getattr(params, it.name)) for it in fields(params)}


def bad(path: str, why: str) -> ModelParams:
    return ModelParams(why, field=f"params.{path}", path=path)


def windows(params: Any, *names: str) -> None:
    """Numbers of days. Raises ModelParams."""
    for name in names:
        if not 0 < getattr(params, name) <= LONGEST_WINDOW:
            raise bad(name, f"days are from 1 to {LONGEST_WINDOW}")


def positive(params: Any, *names: str) -> None:
    """Raises ModelParams."""
    for name in names:
        if not getattr(params, name) > 0:
            raise bad(name, "must be above 0")


def increasing(params: Any, *names: str) -> None:
    """Thresholds, the lowest first. Raises ModelParams."""
    positive(params, *names)
    for lower, higher in pairwise(names):
        if not getattr(params, lower) < getattr(params, higher):
            raise bad(higher, f"must be above {lower}")


def shares(params: Any, *names: str) -> None:
    """Parts of a whole. Raises ModelParams."""
    for name in names:
        if not 0 < getattr(params, name) <= 1:
            raise bad(name, "must be above 0 and at most 1")


def weights(params: Any, name: str, known: Iterable[str]) -> None:
    """Weights by event type, of which `known` ones and custom.* exist. Raises ModelParams."""
    found: Mapping[str, float] = getattr(params, name)
    if len(found) > MOST_WEIGHTS:
        raise bad(name, f"at most {MOST_WEIGHTS}")
    for key, weight in found.items():
        if weight < 0:
            raise bad(f"{name}.{key}", "a weight is not negative")
    event_types(f"{name}.", found, known)


def event_types(prefix: str, types: Iterable[str], known: Iterable[str]) -> None:
    """Raises ModelParams for a type that cannot be."""
    there = frozenset(known)
    for it in types:
        if it not in there and not (it.startswith("custom.") and len(it) > len("custom.")):
            raise bad(f"{prefix}{it}", "there is no such event type")


def _value(path: str, hint: Any, value: Any) -> Any:
    """`value` as `hint` wants it."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_value(f"{path}[{n}]", parts[0], it) for n, it in enumerate(value))
    if origin is not None and issubclass(_class(origin), Mapping) and isinstance(value, Mapping):
        return {str(key): _value(f"{path}.{key}", parts[1], it) for key, it in value.items()}
    if parts and type(None) in parts:
        return None if value in (None, "") else _value(path, parts[0], value)
    if hint in (int, float):
        return _number(path, hint, value)
    if hint is date and isinstance(value, str):
        return _date(path, value)
    if type(value) is not hint:
        raise bad(path, f"not a {getattr(hint, '__name__', 'value')}")
    return value


def _number(path: str, hint: type, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise bad(path, "not a number")
    if hint is int and value != int(value):
        raise bad(path, "not a whole number")
    return hint(value)


def _date(path: str, value: str) -> date:
    try:
        return date.fromisoformat(value)
    except ValueError:
        raise bad(path, "not a date") from None


def _class(origin: Any) -> type:
    return origin if isinstance(origin, type) else object


def _plain(value: Any) -> Any:
    match value:
        case date():
            return value.isoformat()
        case tuple():
            return [_plain(it) for it in value]
        case Mapping():
            return {key: _plain(it) for key, it in sorted(value.items())}
    return value
