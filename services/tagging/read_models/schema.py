"""All tables of the tagging service, and what each of them is to the others.

Truth is in `stored_events` (what this service decided), in `inbox` (what it was told, as received) and in the tables of
RESULTS, which freeze what was found at one moment: rows and layers of model runs, members of snapshots.

Everything in DERIVED follows from those. It is written in the transaction of the fact or decision it follows from, so
that a fact and its effect on tags and segments are seen together; `rebuild.py` makes it again from the two logs with
the same functions:

  inbox          → merges, nodes, visits, purchases, refunds, intake   (directory.py, visits.py, purchases.py)
                   behaviours, placed_orders                           (behaviours.py, purchases.py)
                   attribute_definitions, attribute_values, consents,
                   guide_words, follow_ups, group_members, reachability (profiles.py)
                   member_words, points_lots, points_debts,
                   flow_instances, deliveries, clicks                  (dealings.py)
  stored_events  → segments, static_members, tag_holders               (segments.py, tag_holders.py)
                   asset_alerts, alert_readings, trained_runs          (asset_alerts.py, trained_runs.py)
                   layer_models                                        (layers.py)
                   tenant_settings, segment_changes                    (settings.py, memberships.py)
  all of these   → rule_states, current_layers, bitmaps                (rule_states.py, layers.py, bitmaps.py)

Every table has `tenant`, and `node`, `customer` or an ordinal of one wherever it grows with them.
"""

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    Double,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    Uuid,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

DERIVED: Final = MetaData()
RESULTS: Final = MetaData()
WAITING: Final = MetaData()
"""When customers are to be looked at again: found anew whenever they are, and no part of what is known."""


def _key(name: str, kind: type[TypeEngine[Any]] | TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _value(name: str, kind: type[TypeEngine[Any]] | TypeEngine[Any]) -> Column[Any]:
    return Column(name, kind, nullable=False)


_INSTANT = DateTime(timezone=True)

Table(
    "intake",
    DERIVED,
    _key("tenant", Text),
    _value("messages", BigInteger),
    _value("as_of", _INSTANT),
)

Table(
    "merges",
    DERIVED,
    _key("tenant", Text),
    _key("merge", Uuid),
    _value("survivor", Uuid),
    _value("loser", Uuid),
    _value("undone", Boolean),
    Index("merges_loser", "tenant", "loser"),
    Index("merges_survivor", "tenant", "survivor"),
)

Table(
    "nodes",
    DERIVED,
    _key("tenant", Text),
    _key("node", Uuid),
    _value("customer", Uuid),
    Column("parent", Uuid),
    _value("ordinal", BigInteger),
    _value("known", Boolean),
    _value("assignment_key", Text),
    _value("erased", Boolean),
    Column("created_at", _INSTANT),
    Column("known_at", _INSTANT),
    Index("nodes_customer", "tenant", "customer"),
    Index("nodes_ordinal", "tenant", "ordinal", unique=True),
)

Table(
    "visits",
    DERIVED,
    _key("tenant", Text),
    _key("node", Uuid),
    _key("family", Text),
    _key("started_at", _INSTANT),
    _value("ended_at", _INSTANT),
    Column("utc_offset", SmallInteger),
)

Table(
    "purchases",
    DERIVED,
    _key("tenant", Text),
    _key("node", Uuid),
    _key("order_id", Uuid),
    _value("revision", Integer),
    _value("paid_at", _INSTANT),
    _value("currency", Text),
    _value("net", BigInteger),
)

Table(
    "refunds",
    DERIVED,
    _key("tenant", Text),
    _key("node", Uuid),
    _key("order_id", Uuid),
    _key("refund_no", Text),
    _value("refunded_at", _INSTANT),
    _value("amount", BigInteger),
)

Table(
    "placed_orders",
    DERIVED,
    _key("tenant", Text),
    _key("node", Uuid),
    _key("order_id", Uuid),
    _value("placed_at", _INSTANT),
    _value("lines", JSONB),
    _value("coupons", SmallInteger),
)

Table(
    "behaviours",
    DERIVED,
    _key("tenant", Text),
    _key("node", Uuid),
    _key("occurred_at", _INSTANT),
    _key("key", BigInteger),
    _value("type", Text),
    _value("category", Text),
    _value("channel", Text),
    Column("utc_offset", SmallInteger),
    _value("content", Text),
    _value("page_view", Text),
    _value("properties", JSONB),
    Index("behaviours_type", "tenant", "type", "occurred_at"),
    Index("behaviours_referee", "tenant", "node", postgresql_where=text("type = 'referral_registered'")),
    Index(
        "behaviours_referrer",
        "tenant",
        text("(properties ->> 'referrer_code')"),
        postgresql_where=text("type = 'referral_registered'"),
    ),
)

Table(
    "attribute_definitions",
    DERIVED,
    _key("tenant", Text),
    _key("key", Text),
    _value("type", Text),
    _value("policy", Text),
)

Table(
    "attribute_values",
    DERIVED,
    _key("tenant", Text),
    _key("node", Uuid),
    _key("key", Text),
    _key("source", SmallInteger),
    _value("rank", SmallInteger),
    Column("value", Text),
    _value("cleared", Boolean),
    _value("observed_at", _INSTANT),
    Index("attribute_values_key", "tenant", "key", "node"),
    Index("attribute_values_referral_code", "tenant", "value", postgresql_where=text("key = 'referral_code'")),
)

Table(
    "consents",
    DERIVED,
    _key("tenant", Text),
    _key("node", Uuid),
    _key("purpose", Text),
    _key("channel", Text),
    _value("state", Text),
    _value("made_at", _INSTANT),
    _value("beside", ARRAY(Uuid)),
    Index("consents_purpose", "tenant", "purpose", "node"),
)

Table(
    "guide_words",
    DERIVED,
    _key("tenant", Text),
    _key("node", Uuid),
    _key("said_at", _INSTANT),
    _key("kind", Text),
    Column("staff", Uuid),
    Column("store", Uuid),
    _value("beside", ARRAY(Uuid)),
)

Table(
    "follow_ups",
    DERIVED,
    _key("tenant", Text),
    _key("node", Uuid),
    _key("staff", Uuid),
    _value("followed_at", _INSTANT),
)

Table(
    "group_members",
    DERIVED,
    _key("tenant", Text),
    _key("node", Uuid),
    _key("group_id", Text),
    _value("joined", Boolean),
    _value("changed_at", _INSTANT),
    Index("group_members_group", "tenant", "group_id", "node"),
)

Table(
    "reachability",
    DERIVED,
    _key("tenant", Text),
    _key("node", Uuid),
    _key("channel", Text),
    _value("reachable", Boolean),
    _value("since", _INSTANT),
    Index("reachability_channel", "tenant", "channel", "node"),
)

Table(
    "member_words",
    DERIVED,
    _key("tenant", Text),
    _key("node", Uuid),
    Column("member_since", _INSTANT),
    _value("epoch", Integer),
    _value("position", BigInteger),
)

Table(
    "points_lots",
    DERIVED,
    _key("tenant", Text),
    _key("lot", Uuid),
    _value("node", Uuid),
    _value("points", BigInteger),
    _value("active_at", _INSTANT),
    Column("expires_at", _INSTANT),
    _value("epoch", Integer),
    _value("position", BigInteger),
    Index("points_lots_node", "tenant", "node"),
)

Table("points_debts", DERIVED, _key("tenant", Text), _key("node", Uuid), _value("debt", BigInteger))

Table(
    "flow_instances",
    DERIVED,
    _key("tenant", Text),
    _key("instance", Uuid),
    _value("flow", Uuid),
    _value("node", Uuid),
    _value("entered_at", _INSTANT),
    Column("ended_at", _INSTANT),
    _value("reason", Text),
    Index("flow_instances_flow", "tenant", "flow", "node"),
    Index("flow_instances_node", "tenant", "node"),
)

Table(
    "deliveries",
    DERIVED,
    _key("tenant", Text),
    _key("delivery", Text),
    _value("campaign", Uuid),
    _value("node", Uuid),
    _value("sent_at", _INSTANT),
    Index("deliveries_campaign", "tenant", "campaign", "node"),
    Index("deliveries_node", "tenant", "node"),
)

Table(
    "clicks",
    DERIVED,
    _key("tenant", Text),
    _key("delivery", Text),
    _key("node", Uuid),
    _value("clicked_at", _INSTANT),
    Index("clicks_node", "tenant", "node"),
)

Table(
    "segments",
    DERIVED,
    _key("tenant", Text),
    _key("segment", Uuid),
    _value("name", Text),
    _value("live", Boolean),
    _value("revision", Integer),
    _value("stated", JSONB),
    _value("created_at", _INSTANT),
    _value("updated_at", _INSTANT),
    _value("archived", Boolean),
    Index("segments_name", "tenant", "name", unique=True),
)

Table(
    "static_members",
    DERIVED,
    _key("tenant", Text),
    _key("segment", Uuid),
    _key("node", Uuid),
    Index("static_members_node", "tenant", "node"),
)

Table("tenant_settings", DERIVED, _key("tenant", Text), _value("time_zone", Text), _value("currency", Text))

Table(
    "segment_changes",
    DERIVED,
    _key("tenant", Text),
    _key("segment", Uuid),
    _key("node", Uuid),
    _key("number", BigInteger),
    _value("changed_at", _INSTANT),
    _value("entered", Boolean),
    _value("cause", Text),
    Index("segment_changes_number", "tenant", "segment", "number", "node"),
    Index("segment_changes_node", "tenant", "node"),
)

Table(
    "segment_dues",
    WAITING,
    _key("tenant", Text),
    _key("segment", Uuid),
    _key("customer", Uuid),
    _value("due_at", _INSTANT),
    Index("segment_dues_due", "tenant", "due_at"),
    Index("segment_dues_customer", "tenant", "customer"),
)

Table(
    "rule_states",
    DERIVED,
    _key("tenant", Text),
    _key("rule", Text),
    _key("customer", Uuid),
    _value("assigned", Boolean),
    Column("first_at", _INSTANT),
    Column("next_change", _INSTANT),
)

Table("tag_holders", DERIVED, _key("tenant", Text), _key("tag", Text), _key("node", Uuid))

Table(
    "layer_models",
    DERIVED,
    _key("tenant", Text),
    _key("model", Text),
    _value("kind", Text),
    _value("version", Integer),
    _value("params", Text),
    _value("universe", Text),
    _value("active", Boolean),
    _value("created_at", _INSTANT),
    _value("updated_at", _INSTANT),
)

Table(
    "current_layers",
    DERIVED,
    _key("tenant", Text),
    _key("customer", Uuid),
    _key("model", Text),
    _value("layer", Text),
    Column("next_change", _INSTANT),
    Column("lead_at", _INSTANT),
    Column("bands", Text),
)

Table("asset_alerts", DERIVED, _key("tenant", Text), _key("alert", Text))

Table(
    "alert_readings",
    DERIVED,
    _key("tenant", Text),
    _key("alert", Text),
    _key("period_end", Date),
    _key("version", Integer),
    _value("period_start", Date),
    _value("hits", BigInteger),
    _value("n", BigInteger),
    Column("baseline", Float),
    _value("baseline_n", BigInteger),
    Column("relative_change", Float),
    _value("z", Float),
    _value("p_value", Float),
    _value("raised", Boolean),
    Column("segment", Uuid),
)

Table(
    "trained_runs",
    DERIVED,
    _key("tenant", Text),
    _key("kind", Text),
    _key("key", Text),
    _key("version", Integer),
    _value("run", Uuid),
)

Table(
    "bitmaps",
    DERIVED,
    _key("tenant", Text),
    _key("name", Text),
    _key("chunk", Integer),
    _value("members", LargeBinary),
    Column("digest", LargeBinary, Computed("sha256(members)", persisted=True), nullable=False),
)

Table(
    "model_runs",
    RESULTS,
    _key("tenant", Text),
    _key("run", Uuid),
    _value("model", Text),
    _value("as_of", Date),
    _value("number", BigInteger),
    _value("version", Integer),
    Index("model_runs_number", "tenant", "model", "number", unique=True),
)

Table(
    "rfm_rows",
    RESULTS,
    _key("tenant", Text),
    _key("run", Uuid),
    _key("ordinal", BigInteger),
    _value("recency", Integer),
    _value("frequency", Integer),
    _value("monetary", BigInteger),
    _value("recency_score", SmallInteger),
    _value("frequency_score", SmallInteger),
    _value("monetary_score", SmallInteger),
    Column("type", Text),
    Column("segment", Text),
)

Table(
    "value_rows",
    RESULTS,
    _key("tenant", Text),
    _key("run", Uuid),
    _key("ordinal", BigInteger),
    _value("repeats", Integer),
    _value("last_days", Integer),
    _value("now_days", Integer),
    _value("alive", Double),
    _value("expected", Double),
    Column("amount", Double),
    Column("value", Double),
)

Table(
    "run_layers",
    RESULTS,
    _key("tenant", Text),
    _key("run", Uuid),
    _key("layer", Text),
    _value("members", LargeBinary),
)

Table(
    "snapshot_members",
    RESULTS,
    _key("tenant", Text),
    _key("snapshot", Uuid),
    _value("members", LargeBinary),
)
