"""Comparisons of conditions as SQL: the same answers as `domain/conditions/comparing.py`, never NULL."""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from services.tagging.domain.conditions import Comparison, Operator, Plain


class Sql(NamedTuple):
    """A piece of a statement, with the values of its %s."""

    text: str
    values: tuple[Any, ...] = ()


_SIGNS: Final = {Operator.LT: "<", Operator.LE: "<=", Operator.GT: ">", Operator.GE: ">="}
FALSE: Final = Sql("false")


def either(pieces: Sequence[Sql]) -> Sql:
    return _joined(" OR ", pieces) if pieces else FALSE


def both(pieces: Sequence[Sql]) -> Sql:
    return _joined(" AND ", pieces) if pieces else Sql("true")


def _joined(word: str, pieces: Sequence[Sql]) -> Sql:
    return Sql(f"({word.join(it.text for it in pieces)})", tuple(value for it in pieces for value in it.values))


def of_json(value: Sql, comparison: Comparison) -> Sql:
    """Whether a jsonb compares so; NULL and JSON's null are missing."""
    there = Sql(f"({value.text} IS NOT NULL AND jsonb_typeof({value.text}) <> 'null')", value.values * 2)
    bounds = comparison.plain
    match comparison.operator:
        case Operator.EXISTS:
            return there
        case Operator.NOT_EXISTS:
            return Sql(f"(NOT {there.text})", there.values)
        case Operator.EQ:
            return _same(value, bounds[0])
        case Operator.NE:
            kind = _kind(value, bounds[0])
            same = _same(value, bounds[0])
            return Sql(f"({kind.text} AND NOT {same.text})", kind.values + same.values)
        case Operator.IN:
            return either([_same(value, it) for it in bounds])
        case Operator.BETWEEN:
            return both([_ranks(value, ">=", bounds[0]), _ranks(value, "<=", bounds[1])])
        case Operator.STARTS_WITH:
            text = (
                f"coalesce(jsonb_typeof({value.text}) = 'string' AND starts_with({value.text} #>> '{{}}', %s), false)"
            )
            return Sql(text, (*value.values, *value.values, str(bounds[0])))
        case Operator.CONTAINS:
            return _contains(value, bounds[0])
    return _ranks(value, _SIGNS[comparison.operator], bounds[0])


def of_text(value: Sql, comparison: Comparison) -> Sql:
    """Whether a text compares so; NULL is missing."""
    return of_json(Sql(f"to_jsonb({value.text}::text)", value.values), comparison)


def of_number(total: Sql, parts: Sql, comparison: Comparison) -> Sql:
    """Whether `total` / `parts`, two exact numbers, compares so; a total that is NULL is missing."""
    bounds = [it for it in comparison.plain if isinstance(it, int | float) and not isinstance(it, bool)]

    def against(sign: str, bound: float) -> Sql:
        text = f"coalesce({total.text} {sign} %s::text::numeric * {parts.text}, false)"
        return Sql(text, (*total.values, repr(bound), *parts.values))

    match comparison.operator:
        case Operator.EXISTS:
            return Sql(f"({total.text} IS NOT NULL)", total.values)
        case Operator.NOT_EXISTS:
            return Sql(f"({total.text} IS NULL)", total.values)
        case Operator.EQ | Operator.IN:
            return either([against("=", it) for it in bounds])
        case Operator.NE:
            return against("<>", bounds[0]) if bounds else FALSE
        case Operator.BETWEEN:
            return both([against(">=", bounds[0]), against("<=", bounds[1])]) if len(bounds) == 2 else FALSE
        case Operator.STARTS_WITH | Operator.CONTAINS:
            return FALSE
    return against(_SIGNS[comparison.operator], bounds[0]) if bounds else FALSE


def _kind(value: Sql, bound: Plain) -> Sql:
    kind = {bool: "boolean", str: "string"}.get(type(bound), "number")
    return Sql(f"coalesce(jsonb_typeof({value.text}) = '{kind}', false)", value.values)


def _same(value: Sql, bound: Plain) -> Sql:
    return Sql(f"coalesce({value.text} = %s::jsonb, false)", (*value.values, _json(bound)))


def _ranks(value: Sql, sign: str, bound: Plain) -> Sql:
    """Texts by code point, numbers by size; truths have no order."""
    match bound:
        case bool():
            return FALSE
        case str():
            text = f"({value.text} #>> '{{}}') COLLATE \"C\" {sign} %s"
            kind = "string"
        case _:
            text = f"({value.text} #>> '{{}}')::float8 {sign} %s::float8"
            kind = "number"
    return Sql(
        f"CASE WHEN jsonb_typeof({value.text}) = '{kind}' THEN {text} ELSE false END",
        (*value.values, *value.values, bound),
    )


def _contains(value: Sql, bound: Plain) -> Sql:
    array = f"WHEN 'array' THEN {value.text} @> %s::jsonb"
    values: tuple[Any, ...] = (*value.values, *value.values, _json([bound]))
    if not isinstance(bound, str):
        return Sql(f"CASE jsonb_typeof({value.text}) {array} ELSE false END", values)
    text = f"WHEN 'string' THEN strpos({value.text} #>> '{{}}', %s) > 0"
    return Sql(f"CASE jsonb_typeof({value.text}) {array} {text} ELSE false END", (*values, *value.values, bound))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
