"""What was told of one customer is found in the inbox, to be made blank when the customer is erased."""

from alembic import op

revision = "0006"
down_revision = "0005"

TOLD_OF_PEOPLE = (
    "'scrm.tracking.v1.BehaviourTracked', 'scrm.tracking.v1.OrderPlaced', 'scrm.identity.v1.AttributesChanged'"
)


def upgrade() -> None:
    op.execute(f"CREATE INDEX inbox_by_key ON inbox (tenant, key) WHERE type IN ({TOLD_OF_PEOPLE})")
    op.execute("GRANT UPDATE (payload) ON inbox TO scrm_writer")


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
