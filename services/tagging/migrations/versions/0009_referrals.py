"""Registrations because of somebody are found by the code they name and by their node, and codes by their value."""

from alembic import op

revision = "0009"
down_revision = "0008"

STATEMENTS = (
    "CREATE INDEX behaviours_referee ON behaviours (tenant, node) WHERE type = 'referral_registered'",
    """
    CREATE INDEX behaviours_referrer ON behaviours (tenant, (properties ->> 'referrer_code'))
    WHERE type = 'referral_registered'
    """,
    "CREATE INDEX attribute_values_referral_code ON attribute_values (tenant, value) WHERE key = 'referral_code'",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
