"""The tables that are truth themselves: what was submitted, what became of it, and behaviours with their nodes."""

from alembic import op

revision = "0001"
down_revision = None

# Cut by the time of receipt, so that what is resolved long ago can be dropped month by month; never updated.
ACCEPTED = """
CREATE TABLE accepted (
    position bigserial NOT NULL,
    tenant text NOT NULL,
    received_at timestamptz NOT NULL,
    occurred_at timestamptz NOT NULL,
    source_key text NOT NULL,
    message_id text NOT NULL,
    event_type text NOT NULL,
    late boolean NOT NULL,
    payload bytea NOT NULL,
    traceparent text,
    PRIMARY KEY (position, received_at)
) PARTITION BY RANGE (received_at)
"""

# A month is attached rather than created as a partition: that does not stop those who write.
ENSURE_MONTH = """
CREATE FUNCTION ensure_accepted_month(instant timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first timestamptz := date_trunc('month', instant, 'UTC');
    next timestamptz := date_trunc('month', first + interval '32 days', 'UTC');
    name text := 'accepted_' || to_char(first AT TIME ZONE 'UTC', 'YYYYMM');
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(7245, hashtext(name));
    IF to_regclass(name) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE accepted INCLUDING DEFAULTS INCLUDING INDEXES)', name);
    EXECUTE format('REVOKE ALL ON %I FROM scrm_reader', name);
    EXECUTE format('ALTER TABLE accepted ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, first, next);
END
$$
"""

# Small rows, kept for ever: a message is known again when everything else of it is gone. `key` is a 128-bit digest of
# source and message id, `fingerprint` one of the content.
MESSAGE_KEYS = """
CREATE TABLE message_keys (
    key uuid NOT NULL,
    tenant text NOT NULL,
    fingerprint uuid NOT NULL,
    PRIMARY KEY (key, tenant)
)
"""

QUARANTINE = """
CREATE TABLE quarantine (
    number bigint GENERATED ALWAYS AS IDENTITY,
    tenant text NOT NULL,
    received_at timestamptz NOT NULL,
    source_key text NOT NULL,
    message_id text NOT NULL,
    event_type text NOT NULL,
    reason text NOT NULL,
    field text NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (tenant, number)
)
"""

CONFLICTS = """
CREATE TABLE conflicts (
    number bigint GENERATED ALWAYS AS IDENTITY,
    tenant text NOT NULL,
    received_at timestamptz NOT NULL,
    source_key text NOT NULL,
    message_id text NOT NULL,
    event_type text NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (tenant, number)
)
"""

# How many events had which outcome, counted in the transaction that decided it.
TALLIES = """
CREATE TABLE tallies (
    tenant text NOT NULL,
    received_on date NOT NULL,
    source_key text NOT NULL,
    event_type text NOT NULL,
    outcome text NOT NULL,
    reason text NOT NULL,
    count bigint NOT NULL,
    late bigint NOT NULL,
    PRIMARY KEY (tenant, received_on, source_key, event_type, outcome, reason)
) WITH (fillfactor = 50)
"""

RESOLVER_CURSOR = """
CREATE TABLE resolver_cursor (
    name text PRIMARY KEY,
    position bigint NOT NULL
)
"""

# The position is that of the accepted row, so that no event can become two behaviours; never updated.
BEHAVIOURS = """
CREATE TABLE behaviours (
    position bigint NOT NULL,
    tenant text NOT NULL,
    node uuid NOT NULL,
    occurred_at timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    message_id text NOT NULL,
    source_key text NOT NULL,
    event_type text NOT NULL,
    category text NOT NULL,
    late boolean NOT NULL,
    channel text NOT NULL,
    app text NOT NULL,
    page text NOT NULL,
    content_id text NOT NULL,
    page_view_id text NOT NULL,
    code_key text NOT NULL,
    delivery_id text NOT NULL,
    share_id text NOT NULL,
    staff_code text NOT NULL,
    tz_offset_minutes integer,
    properties text NOT NULL,
    traceparent text,
    PRIMARY KEY (tenant, node, occurred_at, position)
)
"""

STATEMENTS = (
    ACCEPTED,
    ENSURE_MONTH,
    MESSAGE_KEYS,
    QUARANTINE,
    CONFLICTS,
    TALLIES,
    RESOLVER_CURSOR,
    BEHAVIOURS,
    "CREATE INDEX behaviours_position ON behaviours (position)",
    "INSERT INTO resolver_cursor VALUES ('resolve', 0)",
    "SELECT ensure_accepted_month(now() + n * interval '1 month') FROM generate_series(0, 2) n",
    "REVOKE ALL ON accepted, message_keys, quarantine, conflicts, resolver_cursor FROM scrm_reader",
    "REVOKE UPDATE, DELETE, TRUNCATE ON accepted, behaviours, message_keys, quarantine, conflicts FROM scrm_writer",
)

READ_BY_TENANT = ("behaviours", "tallies")
WRITTEN = ("accepted", "message_keys", "quarantine", "conflicts", "resolver_cursor", *READ_BY_TENANT)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
    for table in WRITTEN:
        op.execute(f"GRANT SELECT, INSERT ON {table} TO scrm_writer")
    op.execute("GRANT UPDATE ON tallies, resolver_cursor TO scrm_writer")
    op.execute("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO scrm_writer")
    for table in READ_BY_TENANT:
        op.execute(f"GRANT SELECT ON {table} TO scrm_reader")
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY tenant_only ON {table} TO scrm_reader USING (tenant = current_setting('scrm.tenant', true))"
        )


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
