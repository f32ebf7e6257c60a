"""Events put aside that were accepted after all; what a behaviour is about, and how behaviours are found by it."""

from alembic import op

revision = "0004"
down_revision = "0003"

# That a row of `quarantine` was accepted after all; never updated.
RELEASED = """
CREATE TABLE released (
    tenant text NOT NULL,
    number bigint NOT NULL,
    released_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, number)
)
"""

# What a behaviour is about, by its type; what was appended before has it in its properties.
SUBJECTS = """
UPDATE behaviours SET
    subject = coalesce(CASE event_type
        WHEN 'menu_clicked' THEN properties::jsonb ->> 'menu_key'
        WHEN 'button_clicked' THEN properties::jsonb ->> 'button_id'
        WHEN 'link_clicked' THEN properties::jsonb ->> 'link_id'
        WHEN 'form_submitted' THEN properties::jsonb ->> 'form_id'
    END, ''),
    group_id = coalesce(CASE WHEN event_type LIKE 'group%' THEN properties::jsonb ->> 'group_id' END, '')
WHERE event_type IN ('menu_clicked', 'button_clicked', 'link_clicked', 'form_submitted')
    OR event_type IN ('group_joined', 'group_left', 'group_message_sent')
"""

CONTACTS = "'oa_subscribed', 'oa_unsubscribed', 'qr_scanned', 'wecom_friend_added', 'wecom_friend_deleted'"

STATEMENTS = (
    "ALTER TABLE behaviours ADD COLUMN subject text NOT NULL DEFAULT '', ADD COLUMN group_id text NOT NULL DEFAULT ''",
    "ALTER TABLE behaviours NO FORCE ROW LEVEL SECURITY",  # or not even the owner would see a row
    SUBJECTS,
    "ALTER TABLE behaviours FORCE ROW LEVEL SECURITY",
    f"CREATE INDEX behaviours_facts ON behaviours (position) WHERE event_type IN ({CONTACTS}) OR group_id <> ''",
    "CREATE INDEX behaviours_by_code ON behaviours (tenant, code_key, occurred_at) WHERE code_key <> ''",
    "CREATE INDEX behaviours_touches ON behaviours (tenant, node, occurred_at) WHERE code_key <> ''",
    f"CREATE INDEX behaviours_contacts ON behaviours (tenant, node, occurred_at) WHERE event_type IN ({CONTACTS}, 'registered')",
    "CREATE INDEX behaviours_by_subject ON behaviours (tenant, event_type, subject, occurred_at) WHERE subject <> ''",
    "CREATE INDEX behaviours_by_content ON behaviours (tenant, content_id, occurred_at) WHERE content_id <> ''",
    "CREATE INDEX behaviours_by_page_view ON behaviours (tenant, page_view_id) WHERE page_view_id <> ''",
    "CREATE INDEX behaviours_by_share ON behaviours (tenant, share_id, occurred_at) WHERE share_id <> ''",
    "CREATE INDEX behaviours_by_group ON behaviours (tenant, group_id, occurred_at) WHERE group_id <> ''",
    "INSERT INTO resolver_cursor VALUES ('facts', 0)",
    RELEASED,
    "REVOKE ALL ON released FROM scrm_reader",
    "REVOKE UPDATE, DELETE, TRUNCATE ON released FROM scrm_writer",
    "GRANT SELECT, INSERT ON released TO scrm_writer",
    "CREATE INDEX quarantine_by_message ON quarantine (tenant, message_id)",
    "CREATE INDEX quarantine_by_reason ON quarantine (tenant, reason, number)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
