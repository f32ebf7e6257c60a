"""Alerts with what they saw, and what was learnt of customers: look-alikes and clusterings, by version."""

from alembic import op

revision = "0007"
down_revision = "0006"

STATEMENTS = (
    """
    CREATE TABLE asset_alerts (
        tenant TEXT NOT NULL,
        alert TEXT NOT NULL,
        PRIMARY KEY (tenant, alert)
    )
    """,
    """
    CREATE TABLE alert_readings (
        tenant TEXT NOT NULL,
        alert TEXT NOT NULL,
        period_end DATE NOT NULL,
        version INTEGER NOT NULL,
        period_start DATE NOT NULL,
        hits BIGINT NOT NULL,
        n BIGINT NOT NULL,
        baseline DOUBLE PRECISION,
        baseline_n BIGINT NOT NULL,
        relative_change DOUBLE PRECISION,
        z DOUBLE PRECISION NOT NULL,
        p_value DOUBLE PRECISION NOT NULL,
        raised BOOLEAN NOT NULL,
        segment UUID,
        PRIMARY KEY (tenant, alert, period_end, version)
    )
    """,
    """
    CREATE TABLE trained_runs (
        tenant TEXT NOT NULL,
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        version INTEGER NOT NULL,
        run UUID NOT NULL,
        PRIMARY KEY (tenant, kind, key, version)
    )
    """,
)
TABLES = ("asset_alerts", "alert_readings", "trained_runs")


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    op.execute(f"REVOKE ALL ON {', '.join(TABLES)} FROM scrm_reader, scrm_writer")
    op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(TABLES)} TO scrm_writer")
    op.execute("GRANT UPDATE (members) ON run_layers TO scrm_writer")
    for table in TABLES:
        op.execute(f"GRANT SELECT ON {table} TO scrm_reader")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant_only ON {table} TO scrm_reader USING (tenant = current_setting('scrm.tenant', true))"
        )


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
