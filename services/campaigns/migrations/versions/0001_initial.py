"""The tables that are truth themselves: who is assigned to what, who was written to, and which orders are observed."""

from alembic import op

revision = "0001"
down_revision = None

# Sticky: never updated. Written with the events that announce it, before any message is sent.
ASSIGNMENTS = """
CREATE TABLE assignments (
    tenant text NOT NULL,
    broadcast uuid NOT NULL,
    customer uuid NOT NULL,
    variant text NOT NULL,
    bucket smallint NOT NULL,
    assigned_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, customer, broadcast)
)
"""

# One message per person and broadcast, whatever is merged or taken apart in between: `customer` is the person who got
# it and, in a row of its own, the unit it was for.
RECIPIENTS = """
CREATE TABLE recipients (
    tenant text NOT NULL,
    broadcast uuid NOT NULL,
    customer uuid NOT NULL,
    unit uuid NOT NULL,
    PRIMARY KEY (tenant, broadcast, customer)
)
"""

# Broadcasts that the dispatcher has something to do for.
DISPATCHES = """
CREATE TABLE dispatches (
    tenant text NOT NULL,
    broadcast uuid NOT NULL,
    PRIMARY KEY (tenant, broadcast)
)
"""

# The customer a node belongs to, where it ever was another than the one that has its id; the latest word of identity's
# log stands.
NODES = """
CREATE TABLE nodes (
    tenant text NOT NULL,
    node uuid NOT NULL,
    customer uuid NOT NULL,
    position bigint NOT NULL,
    PRIMARY KEY (tenant, node)
)
"""

# The same as told, never updated: whose a node was since which position of identity's log.
NODE_MOVES = """
CREATE TABLE node_moves (
    tenant text NOT NULL,
    node uuid NOT NULL,
    customer uuid NOT NULL,
    position bigint NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (tenant, node, position)
)
"""

# When orders count for a broadcast.
WINDOWS = """
CREATE TABLE windows (
    tenant text NOT NULL,
    broadcast uuid NOT NULL,
    opens timestamptz NOT NULL,
    closes timestamptz NOT NULL,
    final timestamptz NOT NULL,
    PRIMARY KEY (tenant, broadcast)
)
"""

# What tracking said about orders while some broadcast observed them; never updated.
ORDER_FACTS = """
CREATE TABLE order_facts (
    tenant text NOT NULL,
    order_id uuid NOT NULL,
    position bigint NOT NULL,
    node uuid NOT NULL,
    paid_at timestamptz,
    net numeric NOT NULL,
    currency text NOT NULL,
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, order_id, position)
)
"""

# Orders whose conversions are to be brought in line, and when the first thing was recorded that asks for it.
CREDITS_DUE = """
CREATE TABLE credits_due (
    tenant text NOT NULL,
    order_id uuid NOT NULL,
    cause_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, order_id)
)
"""

# What the capture channel took; stands for the memory of a provider, which tells a repeated call by the delivery.
CAPTURED_MESSAGES = """
CREATE TABLE captured_messages (
    tenant text NOT NULL,
    broadcast uuid NOT NULL,
    delivery uuid NOT NULL,
    arm text NOT NULL,
    customer uuid NOT NULL,
    body text NOT NULL,
    captured_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, broadcast, delivery)
)
"""

STATEMENTS = (
    ASSIGNMENTS,
    "CREATE INDEX assignments_broadcast ON assignments (tenant, broadcast, variant)",
    RECIPIENTS,
    DISPATCHES,
    NODES,
    "CREATE INDEX nodes_customer ON nodes (tenant, customer)",
    NODE_MOVES,
    WINDOWS,
    ORDER_FACTS,
    "CREATE INDEX order_facts_node ON order_facts (tenant, node)",
    CREDITS_DUE,
    CAPTURED_MESSAGES,
)

READ_BY_TENANT = ("assignments", "nodes", "node_moves", "captured_messages")
APPENDED = ("assignments", "recipients", "node_moves", "order_facts", "captured_messages")
CHANGED = ("dispatches", "nodes", "windows", "credits_due")


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute(f"REVOKE ALL ON {', '.join(APPENDED + CHANGED)} FROM scrm_reader, scrm_writer")
    op.execute(f"GRANT SELECT, INSERT ON {', '.join(APPENDED)} TO scrm_writer")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(CHANGED)} TO scrm_writer")
    for table in READ_BY_TENANT:
        op.execute(f"GRANT SELECT ON {table} TO scrm_reader")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant_only ON {table} TO scrm_reader USING (tenant = current_setting('scrm.tenant', true))"
        )


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
