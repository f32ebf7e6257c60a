"""Indexes of the steps of purchase paths alone: what was seen without naming a category, which most of it does, is none."""

from alembic import op

revision = "0008"
down_revision = "0007"

# As PATH_TYPES and NEED_CATEGORY were at the time of this migration.
TYPES = (
    "'cart_added', 'consult_started', 'content_viewed', 'favourite_added', 'livestream_entered', 'menu_clicked', 'order_reviewed',"
    " 'price_compared', 'product_feedback_given', 'product_viewed', 'review_submitted', 'search_performed', 'video_played'"
)
NAMED = "(event_type NOT IN ('content_viewed', 'menu_clicked', 'video_played') OR properties LIKE '%\"category\"%')"

STATEMENTS = (
    "DROP INDEX behaviours_path",
    f"CREATE INDEX behaviours_path ON behaviours (tenant, occurred_at) WHERE event_type IN ({TYPES}) AND {NAMED}",
    f"CREATE INDEX behaviours_steps ON behaviours (tenant, node) WHERE event_type IN ({TYPES}, 'cart_removed') AND {NAMED}",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
