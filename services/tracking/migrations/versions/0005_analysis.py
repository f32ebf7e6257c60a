"""What the analysis of behaviours rests on: the node of each order, and an index for steps of purchase paths."""

from alembic import op

revision = "0005"
down_revision = "0004"

# Written with the analysis of each order: its own log only knows orders by their ids.
NODE_ORDERS = """
CREATE TABLE node_orders (
    tenant text NOT NULL,
    node uuid NOT NULL,
    order_id uuid NOT NULL,
    PRIMARY KEY (tenant, node, order_id)
)
"""

# The same list of types as PATH_TYPES at the time of this migration; an index for reports over all customers.
PATH = """
CREATE INDEX behaviours_path ON behaviours (tenant, occurred_at) WHERE event_type IN (
    'cart_added', 'consult_started', 'content_viewed', 'favourite_added', 'livestream_entered', 'menu_clicked', 'order_reviewed',
    'price_compared', 'product_feedback_given', 'product_viewed', 'review_submitted', 'search_performed', 'video_played'
)
"""

STATEMENTS = (
    NODE_ORDERS,
    PATH,
    "GRANT SELECT, INSERT, DELETE ON node_orders TO scrm_writer",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
