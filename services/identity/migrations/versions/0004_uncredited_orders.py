"""Paid orders that are nobody's, in case that a scan or click is heard of that came before."""

from alembic import op

revision = "0004"
down_revision = "0003"

UNCREDITED_ORDERS = """
CREATE TABLE uncredited_orders (
    tenant text NOT NULL,
    order_id uuid NOT NULL,
    node uuid NOT NULL,
    paid_at timestamptz NOT NULL,
    currency text NOT NULL,
    net bigint NOT NULL,
    PRIMARY KEY (tenant, order_id)
)
"""


def upgrade() -> None:
    op.execute(UNCREDITED_ORDERS)
    op.execute("CREATE INDEX uncredited_orders_by_node ON uncredited_orders (tenant, node, paid_at)")
    op.execute("REVOKE ALL ON uncredited_orders FROM scrm_reader, scrm_writer")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON uncredited_orders TO scrm_writer")


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
