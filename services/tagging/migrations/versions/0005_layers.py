"""Models of layers as they are now, where customers are under the active ones, and which version of a model a run is of."""

from alembic import op

revision = "0005"
down_revision = "0004"

STATEMENTS = (
    """
    CREATE TABLE layer_models (
        tenant TEXT NOT NULL,
        model TEXT NOT NULL,
        kind TEXT NOT NULL,
        version INTEGER NOT NULL,
        params TEXT NOT NULL,
        universe TEXT NOT NULL,
        active BOOLEAN NOT NULL,
        created_at TIMESTAMP WITH TIME ZONE NOT NULL,
        updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
        PRIMARY KEY (tenant, model)
    )
    """,
    """
    CREATE TABLE current_layers (
        tenant TEXT NOT NULL,
        customer UUID NOT NULL,
        model TEXT NOT NULL,
        layer TEXT NOT NULL,
        next_change TIMESTAMP WITH TIME ZONE,
        lead_at TIMESTAMP WITH TIME ZONE,
        PRIMARY KEY (tenant, customer, model)
    )
    """,
    "ALTER TABLE model_runs ADD COLUMN version INTEGER NOT NULL DEFAULT 1",
)
TABLES = ("layer_models", "current_layers")


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
