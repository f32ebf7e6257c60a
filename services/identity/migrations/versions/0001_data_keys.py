"""The data keys of the vault, the one table of identity that is truth itself and may lose what it holds."""

from alembic import op

revision = "0001"
down_revision = None

# `wrapped` goes away when the node is erased; the row stays, so that nobody makes another key for it.
DATA_KEYS = """
CREATE TABLE data_keys (
    tenant text NOT NULL,
    node uuid NOT NULL,
    wrapped_by text NOT NULL,
    wrapped bytea,
    made_at timestamptz NOT NULL,
    destroyed_at timestamptz,
    PRIMARY KEY (tenant, node),
    CHECK ((wrapped IS NULL) = (destroyed_at IS NOT NULL))
)
"""


def upgrade() -> None:
    op.execute(DATA_KEYS)
    op.execute("CREATE INDEX data_keys_wrapped_by ON data_keys (wrapped_by, tenant, node) WHERE wrapped IS NOT NULL")
    op.execute("REVOKE ALL ON data_keys FROM scrm_reader, scrm_writer")
    op.execute("GRANT SELECT, INSERT, UPDATE ON data_keys TO scrm_writer")
    op.execute("GRANT SELECT ON data_keys TO scrm_reader")
    op.execute("ALTER TABLE data_keys ENABLE ROW LEVEL SECURITY")
    op.execute("ALTER TABLE data_keys FORCE ROW LEVEL SECURITY")
    op.execute(
        "CREATE POLICY tenant_only ON data_keys TO scrm_reader USING (tenant = current_setting('scrm.tenant', true))"
    )


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
