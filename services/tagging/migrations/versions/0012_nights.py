"""Rules in force are looked at as a whole each night: the first time as soon as this is there, for those that were there before."""

from alembic import op

revision = "0012"
down_revision = "0011"

RULES = """
    INSERT INTO timers (tenant, kind, key, due_at, payload)
    SELECT tenant, 'refresh_sets', 'rule:' || split_part(name, ':', 2), now(),
           jsonb_build_object('segments', jsonb_agg(segment::text ORDER BY segment))
    FROM segments WHERE live AND name ~ '^(rule|fact):[a-z][a-z0-9_]*:'
    GROUP BY tenant, split_part(name, ':', 2)
    ON CONFLICT (tenant, kind, key) DO NOTHING
"""
"""A timer of a tag without a rule in force takes itself away."""


def upgrade() -> None:
    op.execute(RULES)


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
