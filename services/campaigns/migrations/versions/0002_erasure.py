"""People who are to be forgotten: their units stay in every count, under a reference that leads to nobody."""

from alembic import op

revision = "0002"
down_revision = "0001"

# Of which nodes nothing may be heard any more, and what stands for each in the other tables.
ERASED_NODES = """
CREATE TABLE erased_nodes (
    tenant text NOT NULL,
    node uuid NOT NULL,
    ref uuid NOT NULL,
    PRIMARY KEY (tenant, node)
)
"""

RENAMED = ("assignments", "recipients", "node_moves", "order_facts", "captured_messages")


def upgrade() -> None:
    op.execute(ERASED_NODES)
    op.execute("REVOKE ALL ON erased_nodes FROM scrm_reader")
    op.execute("GRANT SELECT, INSERT ON erased_nodes TO scrm_writer")
    op.execute(f"GRANT UPDATE ON {', '.join(RENAMED)} TO scrm_writer")
    op.execute("CREATE INDEX recipients_customer ON recipients (tenant, customer)")
    op.execute("CREATE INDEX recipients_unit ON recipients (tenant, unit)")
    op.execute("CREATE INDEX node_moves_customer ON node_moves (tenant, customer)")
    op.execute("CREATE INDEX captured_messages_customer ON captured_messages (tenant, customer)")


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
