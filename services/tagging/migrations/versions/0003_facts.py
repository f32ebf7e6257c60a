"""Everything that conditions and models are functions of: behaviours, orders as placed, and what was said of people."""

from alembic import op

revision = "0003"
down_revision = "0002"

STATEMENTS = (
    "ALTER TABLE nodes ADD COLUMN created_at TIMESTAMP WITH TIME ZONE",
    "ALTER TABLE nodes ADD COLUMN known_at TIMESTAMP WITH TIME ZONE",
    """
    CREATE TABLE placed_orders (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        order_id UUID NOT NULL,
        placed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        lines JSONB NOT NULL,
        PRIMARY KEY (tenant, node, order_id)
    )
    """,
    """
    CREATE TABLE behaviours (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
        key BIGINT NOT NULL,
        type TEXT NOT NULL,
        category TEXT NOT NULL,
        channel TEXT NOT NULL,
        utc_offset SMALLINT,
        content TEXT NOT NULL,
        page_view TEXT NOT NULL,
        properties JSONB NOT NULL,
        PRIMARY KEY (tenant, node, occurred_at, key)
    )
    """,
    "CREATE INDEX behaviours_type ON behaviours (tenant, type, occurred_at)",
    """
    CREATE TABLE attribute_definitions (
        tenant TEXT NOT NULL,
        key TEXT NOT NULL,
        type TEXT NOT NULL,
        policy TEXT NOT NULL,
        PRIMARY KEY (tenant, key)
    )
    """,
    """
    CREATE TABLE attribute_values (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        key TEXT NOT NULL,
        source SMALLINT NOT NULL,
        rank SMALLINT NOT NULL,
        value TEXT,
        cleared BOOLEAN NOT NULL,
        observed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant, node, key, source)
    )
    """,
    "CREATE INDEX attribute_values_key ON attribute_values (tenant, key, node)",
    """
    CREATE TABLE consents (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        purpose TEXT NOT NULL,
        channel TEXT NOT NULL,
        state TEXT NOT NULL,
        made_at TIMESTAMP WITH TIME ZONE NOT NULL,
        beside UUID[] NOT NULL,
        PRIMARY KEY (tenant, node, purpose, channel)
    )
    """,
    "CREATE INDEX consents_purpose ON consents (tenant, purpose, node)",
    """
    CREATE TABLE guide_words (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        said_at TIMESTAMP WITH TIME ZONE NOT NULL,
        kind TEXT NOT NULL,
        staff UUID,
        store UUID,
        beside UUID[] NOT NULL,
        PRIMARY KEY (tenant, node, said_at, kind)
    )
    """,
    """
    CREATE TABLE follow_ups (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        staff UUID NOT NULL,
        followed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant, node, staff)
    )
    """,
    """
    CREATE TABLE group_members (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        group_id TEXT NOT NULL,
        joined BOOLEAN NOT NULL,
        changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant, node, group_id)
    )
    """,
    "CREATE INDEX group_members_group ON group_members (tenant, group_id, node)",
)

TABLES = (
    "placed_orders",
    "behaviours",
    "attribute_definitions",
    "attribute_values",
    "consents",
    "guide_words",
    "follow_ups",
    "group_members",
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
