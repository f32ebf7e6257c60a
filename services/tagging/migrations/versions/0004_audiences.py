"""Who came into which segment when and why, what time alone will change, and the settings that sets depend on."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATEMENTS = (
    """
    CREATE TABLE tenant_settings (
        tenant TEXT NOT NULL,
        time_zone TEXT NOT NULL,
        currency TEXT NOT NULL,
        PRIMARY KEY (tenant)
    )
    """,
    """
    CREATE TABLE segment_changes (
        tenant TEXT NOT NULL,
        segment UUID NOT NULL,
        node UUID NOT NULL,
        number BIGINT NOT NULL,
        changed_at TIMESTAMP WITH TIME ZONE NOT NULL,
        entered BOOLEAN NOT NULL,
        cause TEXT NOT NULL,
        PRIMARY KEY (tenant, segment, node, number)
    )
    """,
    "CREATE INDEX segment_changes_number ON segment_changes (tenant, segment, number, node)",
    "CREATE INDEX segment_changes_node ON segment_changes (tenant, node)",
    """
    CREATE TABLE segment_dues (
        tenant TEXT NOT NULL,
        segment UUID NOT NULL,
        customer UUID NOT NULL,
        due_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant, segment, customer)
    )
    """,
    "CREATE INDEX segment_dues_due ON segment_dues (tenant, due_at)",
    "CREATE INDEX segment_dues_customer ON segment_dues (tenant, customer)",
    "ALTER TABLE segments ADD COLUMN archived BOOLEAN NOT NULL DEFAULT false",
)

TABLES = ("tenant_settings", "segment_changes", "segment_dues")


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
