"""What people did, as far as conditions and models read it: one row per behaviour, under its node."""

from collections.abc import Iterable, Sequence
from typing import Final

import sqlalchemy as sa

from services.tagging.application.facts import Done
from services.tagging.read_models import sql

# A column travels as one text: that costs a fraction of an array of as many elements. Each element is led in by the separator,
# which no text holds, since control characters are refused where behaviours are accepted.
_SEPARATOR: Final = "\x1e"
_KEEP: Final = r"""
INSERT INTO behaviours (tenant, node, occurred_at, key, type, category, channel, utc_offset, content, page_view, properties)
SELECT %s, v.node, timestamptz 'epoch' + v.at * interval '1 microsecond', v.key, v.type, v.category, v.channel, v.utc_offset,
    v.content, v.page_view, v.properties
FROM unnest(
    %s::uuid[], %s::bigint[], %s::bigint[],
    (string_to_array(%s, E'\x1e'))[2:], (string_to_array(%s, E'\x1e'))[2:], (string_to_array(%s, E'\x1e'))[2:], %s::smallint[],
    (string_to_array(%s, E'\x1e'))[2:], (string_to_array(%s, E'\x1e'))[2:], (string_to_array(%s, E'\x1e'))[2:]::jsonb[]
) AS v(node, at, key, type, category, channel, utc_offset, content, page_view, properties)
ON CONFLICT DO NOTHING
"""


def absorb(rows: sa.Connection, tenant: str, done: Sequence[Done]) -> None:
    """Keep behaviours; one that is there already changes nothing."""
    if not done:
        return
    nodes, instants, keys, types, categories, channels, offsets, contents, page_views, properties = zip(
        *done, strict=True
    )
    sql.run(
        rows,
        _KEEP,
        tenant,
        _array(it.hex for it in nodes),
        _array(map(str, instants)),
        _array(map(str, keys)),
        _texts(types),
        _texts(categories),
        _texts(channels),
        _array("NULL" if it is None else str(it) for it in offsets),
        _texts(contents),
        _texts(page_views),
        _texts(properties),
    )


def _array(elements: Iterable[str]) -> str:
    """An array as PostgreSQL writes it, of elements that need no quotes."""
    return f"{{{','.join(elements)}}}"


def _texts(column: Sequence[str]) -> str:
    return _SEPARATOR + _SEPARATOR.join(column)
