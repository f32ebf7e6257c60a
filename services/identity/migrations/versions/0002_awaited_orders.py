"""Orders of which one half is known, what was bought or that it was paid: they wait for the other half, and are forgotten then."""

from alembic import op

revision = "0002"
down_revision = "0001"

AWAITED_ORDERS = """
CREATE TABLE awaited_orders (
    tenant text NOT NULL,
    order_id uuid NOT NULL,
    categories text[],
    paid_at timestamptz,
    kept_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, order_id)
)
"""


def upgrade() -> None:
    op.execute(AWAITED_ORDERS)
    op.execute("CREATE INDEX awaited_orders_by_age ON awaited_orders (tenant, kept_at)")
    op.execute("REVOKE ALL ON awaited_orders FROM scrm_reader, scrm_writer")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON awaited_orders TO scrm_writer")


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
