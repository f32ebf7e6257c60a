"""Flows: who listens to what, who is or was in which flow, what is to be sent, who has bought, and who is only a visitor."""

from alembic import op

revision = "0003"
down_revision = "0002"

# What flows listen to: with `starts` what starts them, for who is not in them.
FLOW_LISTENERS = """
CREATE TABLE flow_listeners (
    tenant text NOT NULL,
    flow uuid NOT NULL,
    kind text NOT NULL,
    key text NOT NULL,
    after_seconds int NOT NULL,
    starts bool NOT NULL,
    PRIMARY KEY (tenant, flow, kind, key, after_seconds, starts)
)
"""

# Every time somebody came into a flow: the node it came to, for ever, and the customer it is for, which a merge may change.
FLOW_ENTRIES = """
CREATE TABLE flow_entries (
    tenant text NOT NULL,
    instance uuid NOT NULL,
    flow uuid NOT NULL,
    node uuid NOT NULL,
    customer uuid NOT NULL,
    entry_key text NOT NULL,
    ended_at timestamptz,
    PRIMARY KEY (tenant, instance)
)
"""

# Messages that are to be sent, or with a lease are being sent. What became of them is an event of the instance.
FLOW_SENDS = """
CREATE TABLE flow_sends (
    tenant text NOT NULL,
    delivery uuid NOT NULL,
    flow uuid NOT NULL,
    instance uuid NOT NULL,
    step text NOT NULL,
    lease_until timestamptz,
    PRIMARY KEY (tenant, delivery)
)
"""

# Nodes that have paid for something.
BUYERS = """
CREATE TABLE buyers (
    tenant text NOT NULL,
    node uuid NOT NULL,
    PRIMARY KEY (tenant, node)
)
"""

# Customers of whom nobody knows who they are.
VISITORS = """
CREATE TABLE visitors (
    tenant text NOT NULL,
    customer uuid NOT NULL,
    PRIMARY KEY (tenant, customer)
)
"""

STATEMENTS = (
    FLOW_LISTENERS,
    FLOW_ENTRIES,
    "CREATE INDEX flow_entries_customer ON flow_entries (tenant, customer)",
    "CREATE INDEX flow_entries_node ON flow_entries (tenant, node)",
    FLOW_SENDS,
    "CREATE INDEX flow_sends_instance ON flow_sends (tenant, instance)",
    BUYERS,
    # Whoever paid while a broadcast observed it is known; of anybody else nothing was kept.
    "INSERT INTO buyers SELECT DISTINCT tenant, node FROM order_facts WHERE paid_at IS NOT NULL AND net > 0",
    VISITORS,
)
TABLES = "flow_listeners, flow_entries, flow_sends, buyers, visitors"


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute(f"REVOKE ALL ON {TABLES} FROM scrm_reader")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLES} TO scrm_writer")


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
