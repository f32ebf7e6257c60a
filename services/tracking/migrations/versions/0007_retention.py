"""The right to remove what is kept no longer: whole months of what was accepted, and rows that were put aside."""

from alembic import op

revision = "0007"
down_revision = "0006"

# Months that end by `before` and of which everything is resolved up to `resolved`. Whoever reads or writes is waited for a second;
# after that it is for another time.
DROP_MONTHS = """
CREATE FUNCTION drop_accepted_months(before timestamptz, resolved bigint) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    name text;
    first timestamptz;
    is_done boolean;
    dropped integer := 0;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'accepted'::regclass AND c.relname ~ '^accepted_[0-9]{6}$' ORDER BY c.relname
    LOOP
        first := (substr(name, 10, 4) || '-' || substr(name, 14, 2) || '-01 00:00+00')::timestamptz;
        CONTINUE WHEN date_trunc('month', first + interval '32 days', 'UTC') > before;
        EXECUTE format('SELECT NOT EXISTS (SELECT FROM %I WHERE position > $1)', name) INTO is_done USING resolved;
        CONTINUE WHEN NOT is_done;
        EXECUTE format('DROP TABLE %I', name);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$
"""

STATEMENTS = (
    DROP_MONTHS,
    "REVOKE ALL ON FUNCTION drop_accepted_months(timestamptz, bigint) FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION drop_accepted_months(timestamptz, bigint) TO scrm_writer",
    # What was put aside takes with it that it was released; by itself that cannot be undone by anybody who writes.
    "DELETE FROM released r WHERE NOT EXISTS (SELECT FROM quarantine q WHERE (q.tenant, q.number) = (r.tenant, r.number))",
    "ALTER TABLE released ADD FOREIGN KEY (tenant, number) REFERENCES quarantine ON DELETE CASCADE",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
