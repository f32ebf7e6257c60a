"""The tables of facts, tags and sets, and of what was frozen: runs of models and snapshots of segments."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE intake (
        tenant TEXT NOT NULL,
        messages BIGINT NOT NULL,
        as_of TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant)
    )
    """,
    """
    CREATE TABLE merges (
        tenant TEXT NOT NULL,
        merge UUID NOT NULL,
        survivor UUID NOT NULL,
        loser UUID NOT NULL,
        undone BOOLEAN NOT NULL,
        PRIMARY KEY (tenant, merge)
    )
    """,
    "CREATE INDEX merges_loser ON merges (tenant, loser)",
    """
    CREATE TABLE nodes (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        customer UUID NOT NULL,
        parent UUID,
        ordinal BIGINT NOT NULL,
        known BOOLEAN NOT NULL,
        assignment_key TEXT NOT NULL,
        PRIMARY KEY (tenant, node)
    )
    """,
    "CREATE INDEX nodes_customer ON nodes (tenant, customer)",
    "CREATE UNIQUE INDEX nodes_ordinal ON nodes (tenant, ordinal)",
    """
    CREATE TABLE visits (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        family TEXT NOT NULL,
        started_at TIMESTAMP WITH TIME ZONE NOT NULL,
        ended_at TIMESTAMP WITH TIME ZONE NOT NULL,
        utc_offset SMALLINT,
        PRIMARY KEY (tenant, node, family, started_at)
    )
    """,
    """
    CREATE TABLE purchases (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        order_id UUID NOT NULL,
        revision INTEGER NOT NULL,
        paid_at TIMESTAMP WITH TIME ZONE NOT NULL,
        currency TEXT NOT NULL,
        net BIGINT NOT NULL,
        PRIMARY KEY (tenant, node, order_id)
    )
    """,
    """
    CREATE TABLE refunds (
        tenant TEXT NOT NULL,
        node UUID NOT NULL,
        order_id UUID NOT NULL,
        refund_no TEXT NOT NULL,
        refunded_at TIMESTAMP WITH TIME ZONE NOT NULL,
        amount BIGINT NOT NULL,
        PRIMARY KEY (tenant, node, order_id, refund_no)
    )
    """,
    """
    CREATE TABLE segments (
        tenant TEXT NOT NULL,
        segment UUID NOT NULL,
        name TEXT NOT NULL,
        live BOOLEAN NOT NULL,
        revision INTEGER NOT NULL,
        stated JSONB NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant, segment)
    )
    """,
    "CREATE UNIQUE INDEX segments_name ON segments (tenant, name)",
    """
    CREATE TABLE static_members (
        tenant TEXT NOT NULL,
        segment UUID NOT NULL,
        node UUID NOT NULL,
        PRIMARY KEY (tenant, segment, node)
    )
    """,
    "CREATE INDEX static_members_node ON static_members (tenant, node)",
    """
    CREATE TABLE rule_states (
        tenant TEXT NOT NULL,
        rule TEXT NOT NULL,
        customer UUID NOT NULL,
        assigned BOOLEAN NOT NULL,
        first_at TIMESTAMP WITH TIME ZONE,
        next_change TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (tenant, rule, customer)
    )
    """,
    """
    CREATE TABLE tag_holders (
        tenant TEXT NOT NULL,
        tag TEXT NOT NULL,
        node UUID NOT NULL,
        PRIMARY KEY (tenant, tag, node)
    )
    """,
    """
    CREATE TABLE bitmaps (
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        chunk INTEGER NOT NULL,
        members BYTEA NOT NULL,
        PRIMARY KEY (tenant, name, chunk)
    )
    """,
    """
    CREATE TABLE model_runs (
        tenant TEXT NOT NULL,
        run UUID NOT NULL,
        model TEXT NOT NULL,
        as_of DATE NOT NULL,
        number BIGINT NOT NULL,
        PRIMARY KEY (tenant, run)
    )
    """,
    "CREATE UNIQUE INDEX model_runs_number ON model_runs (tenant, model, number)",
    """
    CREATE TABLE rfm_rows (
        tenant TEXT NOT NULL,
        run UUID NOT NULL,
        ordinal BIGINT NOT NULL,
        recency INTEGER NOT NULL,
        frequency INTEGER NOT NULL,
        monetary BIGINT NOT NULL,
        recency_score SMALLINT NOT NULL,
        frequency_score SMALLINT NOT NULL,
        monetary_score SMALLINT NOT NULL,
        type TEXT,
        segment TEXT,
        PRIMARY KEY (tenant, run, ordinal)
    )
    """,
    """
    CREATE TABLE run_layers (
        tenant TEXT NOT NULL,
        run UUID NOT NULL,
        layer TEXT NOT NULL,
        members BYTEA NOT NULL,
        PRIMARY KEY (tenant, run, layer)
    )
    """,
    """
    CREATE TABLE snapshot_members (
        tenant TEXT NOT NULL,
        snapshot UUID NOT NULL,
        members BYTEA NOT NULL,
        PRIMARY KEY (tenant, snapshot)
    )
    """,
)

CHANGED = (
    "intake",
    "merges",
    "nodes",
    "visits",
    "purchases",
    "refunds",
    "segments",
    "static_members",
    "rule_states",
    "tag_holders",
    "bitmaps",
)
APPENDED = ("model_runs", "rfm_rows", "run_layers", "snapshot_members")


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute(f"REVOKE ALL ON {', '.join(CHANGED + APPENDED)} FROM scrm_reader, scrm_writer")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(CHANGED)} TO scrm_writer")
    op.execute(f"GRANT SELECT, INSERT ON {', '.join(APPENDED)} TO scrm_writer")
    for table in CHANGED + APPENDED:
        op.execute(f"GRANT SELECT ON {table} TO scrm_reader")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant_only ON {table} TO scrm_reader USING (tenant = current_setting('scrm.tenant', true))"
        )


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
