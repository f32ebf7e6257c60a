"""Conditions as people write them; what is written here is read back as it was."""

import json
import re
from typing import Final
from uuid import UUID

from services.tagging.domain.conditions.leaves import (
    OF_A_PROPERTY,
    Absence,
    AttributeTest,
    Delivered,
    EventTest,
    Happening,
    HasConsent,
    HasTag,
    InFlow,
    InGroup,
    InLayer,
    InSegment,
    Leaf,
    OrderTest,
    PropertyTest,
    Reachable,
    RelatedTo,
    RfmScores,
    Streak,
    Succession,
)
from services.tagging.domain.conditions.text_words import PHRASES, RESERVED, SYMBOLS, UNITS
from services.tagging.domain.conditions.tree import Condition, Kind
from services.tagging.domain.conditions.values import Comparison, Operator, Period, Value, Window

NAME: Final = re.compile(r"\$?[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*", re.ASCII)


def written(condition: Condition) -> str:
    """The text form of `condition`."""
    match condition.kind:
        case Kind.NOT:
            part = condition.parts[0]
            return f"not {written(part)}" if _stands_alone(part) else f"not ({written(part)})"
        case Kind.ALL | Kind.ANY:
            if len(condition.parts) == 1:
                return f"{condition.kind.lower()}({written(condition.parts[0])})"
            word = " and " if condition.kind is Kind.ALL else " or "
            return word.join(written(it) if _stands_alone(it) else f"({written(it)})" for it in condition.parts)
    leaf = condition.leaf
    assert leaf is not None  # noqa: S101 (by its kind)
    return leaf_text(leaf)


def leaf_text(leaf: Leaf) -> str:
    """The text form of one leaf."""
    match leaf:
        case EventTest() | Absence() | Succession() | Streak():
            return f"{_of_behaviours(leaf)}{_window(leaf.window)}"
        case OrderTest():
            where = f"({_where(leaf.where)})" if leaf.where else ""
            return f"order{where} {leaf.figure.lower()} {_comparison(leaf.comparison)}{_window(leaf.window)}"
        case AttributeTest(key, comparison):
            name = key if _is_name(key) and key not in RESERVED else f"attr({_quoted(key)})"
            return f"{name} {_comparison(comparison)}"
        case RelatedTo(tie, comparison):
            return f"{tie} {_comparison(comparison)}"
        case HasTag(tag, value):
            return f"tag({_quoted(tag)})" if value is None else f"tag({_quoted(tag)}, {_quoted(value)})"
        case InSegment(segment):
            return f"segment({_quoted(str(segment))})"
        case InLayer() | RfmScores():
            return _of_model(leaf)
        case InGroup() | HasConsent() | Reachable() | InFlow() | Delivered():
            return _of_dealings(leaf)


def _of_dealings(leaf: InGroup | HasConsent | Reachable | InFlow | Delivered) -> str:
    match leaf:
        case InGroup(group):
            return f"group({_or_any(group)})"
        case HasConsent(purpose):
            return f"consent({_quoted(purpose)})"
        case Reachable(channel):
            return f"reachable({_or_any(channel)})"
        case InFlow(flow, state):
            return f"flow({_or_any(flow)}, {state.lower()})"
        case Delivered(campaign, status, window):
            return f"delivery({_or_any(campaign)}, {status.lower()}){_window(window)}"


def _or_any(what: str | UUID | None) -> str:
    return "any" if what is None else _quoted(str(what))


def _stands_alone(condition: Condition) -> bool:
    """Whether it needs no brackets beside others."""
    return condition.kind not in (Kind.ALL, Kind.ANY) or len(condition.parts) == 1


def _of_behaviours(leaf: EventTest | Absence | Succession | Streak) -> str:
    match leaf:
        case EventTest():
            prop = f"({_key(leaf.property)})" if leaf.figure in OF_A_PROPERTY else f"({leaf.days})" if leaf.days else ""
            return f"{_happening(leaf.what)} {leaf.figure.lower()}{prop} {_comparison(leaf.comparison)}"
        case Absence():
            return f"{_happening(leaf.what)} without {_happening(leaf.other)} within {_duration(leaf.within)}"
        case Succession():
            within = f" within {_duration(leaf.within)}" if leaf.within else ""
            gap = f" gap {_duration(leaf.gap)}" if leaf.gap else ""
            return " then ".join(map(_happening, leaf.steps)) + within + gap
        case Streak():
            return f"{_happening(leaf.what)} streak {_some(leaf.length, leaf.unit.lower())}"


def _of_model(leaf: InLayer | RfmScores) -> str:
    if isinstance(leaf, RfmScores):
        r, f, m = ("..".join(map(str, it)) for it in (leaf.recency, leaf.frequency, leaf.monetary))
        return f"rfm({_quoted(leaf.model)}, r {r}, f {f}, m {m})"
    run = f", run {_quoted(str(leaf.run))}" if leaf.run else ""
    as_of = f", as of {leaf.as_of.isoformat()}" if leaf.as_of else ""
    return f"layer({_quoted(leaf.model)}, {_quoted(leaf.layer)}{run}{as_of})"


def _happening(it: Happening) -> str:
    parts = [_quoted(it.type)] if it.type else []
    if it.category:
        parts.append(f"category {_quoted(it.category)}")
    if it.hours:
        parts.append(f"hours {it.hours[0]}..{it.hours[1]}")
    if it.weekdays:
        parts.append(f"weekdays {', '.join(map(str, it.weekdays))}")
    if it.where:
        parts.append(_where(it.where))
    return f"event({', '.join(parts) or 'any'})"


def _where(tests: tuple[PropertyTest, ...]) -> str:
    return "where " + " and ".join(f"{_key(it.key)} {_comparison(it.comparison)}" for it in tests)


def _comparison(it: Comparison) -> str:
    values = [_value(one) for one in it.values]
    match it.operator:
        case Operator.EXISTS | Operator.NOT_EXISTS:
            return PHRASES[it.operator]
        case Operator.IN:
            return f"in ({', '.join(values)})"
        case Operator.BETWEEN:
            return f"between {values[0]} and {values[1]}"
    return f"{SYMBOLS.get(it.operator) or PHRASES[it.operator]} {values[0]}"


def _value(it: Value) -> str:
    match it.plain:
        case bool() as truth:
            return "true" if truth else "false"
        case str() as text:
            return _quoted(text)
        case number:
            return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)


def _window(it: Window) -> str:
    match it.period:
        case Period.LAST_N_DAYS:
            return f" in last {_some(it.n, 'day')}"
        case Period.LAST_N_HOURS:
            return f" in last {_some(it.n, 'hour')}"
        case Period.BETWEEN:
            assert it.first and it.last  # noqa: S101, PT018 (a window between has both)
            return f" in {it.first.isoformat()}..{it.last.isoformat()}"
        case Period.THIS_MONTH:
            return " in this month"
    return ""


def _duration(seconds: int) -> str:
    for unit, length in UNITS.items():
        if seconds % length == 0:
            return _some(seconds // length, unit)
    raise ValueError(seconds)


def _some(number: int, unit: str) -> str:
    return f"{number} {unit}{'' if number == 1 else 's'}"


def _key(key: str) -> str:
    return key if _is_name(key) else _quoted(key)


def _is_name(text: str) -> bool:
    return NAME.fullmatch(text) is not None


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
