"""Leaves on orders as statements (spec TG-4, TR-9), as those of `leaf_sql` are."""

from typing import Final

from services.tagging.domain.conditions import LINE_KEYS, OrderFigure, OrderTest, PropertyTest
from services.tagging.domain.conditions.comparing import total_compares
from services.tagging.domain.money import scale
from services.tagging.read_models.comparison_sql import Sql, both, of_json, of_number, of_text
from services.tagging.read_models.leaf_sql import USUAL, AsOf, LeafSql, daypart, days_since, grouped


def of_orders(leaf: OrderTest, when: AsOf) -> LeafSql:
    """The customers whose figure of orders compares so."""
    parts = scale(when.currency)
    one, figure = Sql("1"), leaf.figure
    missing = False
    match figure:
        case OrderFigure.COUNT | OrderFigure.RETURNED:
            held = of_number(Sql("count(*)"), one, leaf.comparison)
        case OrderFigure.OCCASIONS:
            held = of_number(Sql("count(DISTINCT x.day)"), one, leaf.comparison)
        case OrderFigure.NET:
            held = of_number(Sql("sum(x.net)"), Sql(str(parts)), leaf.comparison)
        case OrderFigure.QUANTITY:
            held = of_number(Sql("sum(x.quantity)"), one, leaf.comparison)
        case OrderFigure.SKUS | OrderFigure.CATEGORIES:
            held = of_number(Sql(_different(f"x.{figure.lower()}")), one, leaf.comparison)
        case OrderFigure.AVG:
            held, missing = of_number(Sql("sum(x.net)"), Sql(f"(count(*) * {parts})"), leaf.comparison), True
        case OrderFigure.MIN | OrderFigure.MAX:
            held, missing = of_number(Sql(f"{figure.lower()}(x.net)"), Sql(str(parts)), leaf.comparison), True
        case OrderFigure.DAYPART:
            part = daypart(Sql("x.occurred_at AT TIME ZONE %s", (when.zone,)))
            usual = USUAL.format(value=part.text, order="x.occurred_at", only="")
            held, missing = of_json(Sql(usual, part.values), leaf.comparison), True
        case OrderFigure.SHARE:
            meant = Sql("(100 * count(*) FILTER (WHERE x.meant))")
            held, missing = of_number(meant, Sql("count(*)"), leaf.comparison), True
        case _:
            recent = figure is OrderFigure.RECENCY_DAYS
            held, missing = of_number(days_since(recent, when), one, leaf.comparison), True
    nothing = total_compares(leaf.comparison, None if missing else 0, 1)
    return LeafSql(grouped(_bought(leaf, when, parts), held, when, nothing), nothing)


def _different(arrays: str) -> str:
    every = f"jsonb_array_elements(jsonb_agg({arrays}))"
    return f"(SELECT count(DISTINCT e) FROM {every} a, jsonb_array_elements(a) e)"  # noqa: S608


def _bought(leaf: OrderTest, when: AsOf, parts: int) -> Sql:
    of_lines = [it for it in leaf.where if it.key in LINE_KEYS]
    tests = [
        Sql("p.tenant = %s", (when.tenant,)),
        Sql("p.currency = %s", (when.currency,)),
        when.bounds("p.paid_at", leaf.window),
    ]
    whole = [_of_order(it, parts, when) for it in leaf.where if it.key not in LINE_KEYS]
    line = both([of_text(Sql(f"nullif(l ->> {LINE_KEYS.index(it.key)}, '')"), it.comparison) for it in of_lines])
    day = Sql("(o.occurred_at AT TIME ZONE %s)::date", (when.zone,))
    returned = leaf.figure is OrderFigure.RETURNED
    left = Sql(f"EXISTS (SELECT FROM refunds r {_OF_ORDER.format('r')} AND r.amount > 0)" if returned else "o.net > 0")
    found = both([left, *whole, *([Sql("lines.some")] if of_lines else [])])
    meant, wanted = (found, left) if leaf.figure is OrderFigure.SHARE else (Sql("true"), found)
    net = "lines.paid" if of_lines else "o.net"
    text = (
        f"SELECT o.node, o.occurred_at, {day.text} AS day, {meant.text} AS meant, {net} AS net, coalesce(lines.quantity, 0) AS quantity,"  # noqa: S608
        " coalesce(lines.skus, '[]') AS skus, coalesce(lines.categories, '[]') AS categories"
        " FROM (SELECT p.tenant, p.node, p.order_id, p.paid_at AS occurred_at, p.net - coalesce((SELECT sum(r.amount)"
        " FROM refunds r WHERE (r.tenant, r.node, r.order_id) = (p.tenant, p.node, p.order_id)), 0) AS net"
        f" FROM purchases p WHERE {both(tests).text}) o"
        " LEFT JOIN LATERAL (SELECT count(*) > 0 AS some, sum((l ->> 5)::bigint) AS paid,"
        " sum((l ->> 3)::bigint) AS quantity, jsonb_agg(l -> 0) FILTER (WHERE l ->> 0 <> '') AS skus,"
        " jsonb_agg(l -> 1) FILTER (WHERE l ->> 1 <> '') AS categories"
        " FROM placed_orders d, jsonb_array_elements(d.lines) l"
        " WHERE (d.tenant, d.node, d.order_id) = (o.tenant, o.node, o.order_id)"
        f" AND {line.text}) lines ON true WHERE {wanted.text}"
    )
    return Sql(text, (*day.values, *meant.values, *both(tests).values, *line.values, *wanted.values))


_OF_ORDER: Final = "WHERE ({0}.tenant, {0}.node, {0}.order_id) = (o.tenant, o.node, o.order_id)"
_PLACED: Final = f"FROM placed_orders d {_OF_ORDER.format('d')}"
_LINES: Final = f"FROM placed_orders d, jsonb_array_elements(d.lines) l {_OF_ORDER.format('d')}"


def _of_order(it: PropertyTest, parts: int, when: AsOf) -> Sql:
    match it.key:
        case "net":
            return of_json(Sql(f"to_jsonb(o.net::float8 / {parts})"), it.comparison)
        case "coupons":
            return of_json(Sql(f"(SELECT to_jsonb(coalesce(max(d.coupons), 0)) {_PLACED})"), it.comparison)
        case "currency":
            return of_text(Sql("%s", (when.currency,)), it.comparison)
        case "quantity":
            return of_json(Sql(f"(SELECT to_jsonb(sum((l ->> 3)::bigint)) {_LINES})"), it.comparison)
        case "discount":
            listed, paid = "sum((l ->> 4)::bigint)", "sum((l ->> 5)::bigint)"
            percent = f"(100 * ({listed} - {paid}))::float8 / nullif({listed}, 0)::float8"
            return of_json(Sql(f"(SELECT to_jsonb({percent}) {_LINES})"), it.comparison)
        case "weekday":
            weekday = "to_jsonb(extract(isodow FROM o.occurred_at AT TIME ZONE %s)::int)"
            return of_json(Sql(weekday, (when.zone,)), it.comparison)
    return of_json(Sql("NULL::jsonb"), it.comparison)
