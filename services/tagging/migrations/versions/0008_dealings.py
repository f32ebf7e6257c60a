"""What membership and campaigns tell of customers, by which channels they are reached, how many coupons went into an order,
and what models of value say."""

from alembic import op

revision = "0008"
down_revision = "0007"

STATEMENTS = (
    "ALTER TABLE placed_orders ADD COLUMN coupons SMALLINT NOT NULL DEFAULT 0",
    """
    CREATE TABLE reachability (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        channel TEXT NOT NULL,
        reachable BOOLEAN NOT NULL,
        since TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant, node, channel)
    )
    """,
    "CREATE INDEX reachability_channel ON reachability (tenant, channel, node)",
    """
    CREATE TABLE member_words (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        member_since TIMESTAMP WITH TIME ZONE,
        epoch INTEGER NOT NULL,
        position BIGINT NOT NULL,
        PRIMARY KEY (tenant, node)
    )
    """,
    """
    CREATE TABLE points_lots (
        tenant TEXT NOT NULL,
        lot UUID NOT NULL,
        node UUID NOT NULL,
        points BIGINT NOT NULL,
        active_at TIMESTAMP WITH TIME ZONE NOT NULL,
        expires_at TIMESTAMP WITH TIME ZONE,
        epoch INTEGER NOT NULL,
        position BIGINT NOT NULL,
        PRIMARY KEY (tenant, lot)
    )
    """,
    "CREATE INDEX points_lots_node ON points_lots (tenant, node)",
    """
    CREATE TABLE points_debts (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        debt BIGINT NOT NULL,
        PRIMARY KEY (tenant, node)
    )
    """,
    """
    CREATE TABLE flow_instances (
        tenant TEXT NOT NULL,
        instance UUID NOT NULL,
        flow UUID NOT NULL,
        node UUID NOT NULL,
        entered_at TIMESTAMP WITH TIME ZONE NOT NULL,
        ended_at TIMESTAMP WITH TIME ZONE,
        reason TEXT NOT NULL,
        PRIMARY KEY (tenant, instance)
    )
    """,
    "CREATE INDEX flow_instances_flow ON flow_instances (tenant, flow, node)",
    "CREATE INDEX flow_instances_node ON flow_instances (tenant, node)",
    """
    CREATE TABLE deliveries (
        tenant TEXT NOT NULL,
        delivery TEXT NOT NULL,
        campaign UUID NOT NULL,
        node UUID NOT NULL,
        sent_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant, delivery)
    )
    """,
    "CREATE INDEX deliveries_campaign ON deliveries (tenant, campaign, node)",
    "CREATE INDEX deliveries_node ON deliveries (tenant, node)",
    """
    CREATE TABLE clicks (
        tenant TEXT NOT NULL,
        delivery TEXT NOT NULL,
        node UUID NOT NULL,
        clicked_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant, delivery, node)
    )
    """,
    "CREATE INDEX clicks_node ON clicks (tenant, node)",
    """
    CREATE TABLE value_rows (
        tenant TEXT NOT NULL,
        run UUID NOT NULL,
        ordinal BIGINT NOT NULL,
        repeats INTEGER NOT NULL,
        last_days INTEGER NOT NULL,
        now_days INTEGER NOT NULL,
        alive DOUBLE PRECISION NOT NULL,
        expected DOUBLE PRECISION NOT NULL,
        amount DOUBLE PRECISION,
        value DOUBLE PRECISION,
        PRIMARY KEY (tenant, run, ordinal)
    )
    """,
)
TABLES = (
    "reachability",
    "member_words",
    "points_lots",
    "points_debts",
    "flow_instances",
    "deliveries",
    "clicks",
    "value_rows",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute(f"REVOKE ALL ON {', '.join(TABLES)} FROM scrm_reader, scrm_writer")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(TABLES)} TO scrm_writer")
    for table in TABLES:
        op.execute(f"GRANT SELECT ON {table} TO scrm_reader")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant_only ON {table} TO scrm_reader USING (tenant = current_setting('scrm.tenant', true))"
        )


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
