"""The keys by which customers are found worth comparing, and how far the matcher has read.

Keys follow from what is known of a customer, which is sealed: no projection could make them. They are keyed hashes, and go away
with whom they are of.
"""

from alembic import op

revision = "0003"
down_revision = "0002"

MATCH_KEYS = """
CREATE TABLE match_keys (
    tenant text NOT NULL,
    customer uuid NOT NULL,
    digest bytea NOT NULL,
    kind text NOT NULL,
    PRIMARY KEY (tenant, customer, digest)
)
"""

MATCHER_CURSOR = """
CREATE TABLE matcher_cursor (
    name text PRIMARY KEY,
    position bigint NOT NULL
)
"""


def upgrade() -> None:
    op.execute(MATCH_KEYS)
    op.execute("CREATE INDEX match_keys_digest ON match_keys (tenant, digest, customer) INCLUDE (kind)")
    op.execute(MATCHER_CURSOR)
    op.execute("INSERT INTO matcher_cursor VALUES ('match', 0)")
    op.execute("REVOKE ALL ON match_keys, matcher_cursor FROM scrm_reader, scrm_writer")
    op.execute("GRANT SELECT, INSERT, DELETE ON match_keys TO scrm_writer")
    op.execute("GRANT SELECT, UPDATE ON matcher_cursor TO scrm_writer")


def downgrade() -> None:
    raise RuntimeError("facts are not taken back")
