"""Behaviours that speak of orders are found by their position, and there is a cursor for who records them."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.execute(
        "CREATE INDEX behaviours_of_orders ON behaviours (position)"
        " WHERE event_type IN ('order_completed', 'order_refunded', 'order_cancelled')"
    )
    op.execute("INSERT INTO resolver_cursor VALUES ('orders', 0)")


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
