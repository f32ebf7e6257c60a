"""Behaviours of the time before it was kept by itself what they are about can be found by it, too."""

import psycopg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from chassis import schema
from chassis.postgres import create_engine
from tests.conftest import DatabaseFactory
from tests.tracking.conftest import MIGRATIONS

OLD = b"""
INSERT INTO behaviours (position, tenant, node, occurred_at, received_at, message_id, source_key, event_type, category, late,
  channel, app, page, content_id, page_view_id, code_key, delivery_id, share_id, staff_code, properties)
SELECT n, 'acme', gen_random_uuid(), now(), now(), n::text, 'h5', kind, '', false, '', '', '', '', '', '', '', '', '', properties
FROM (VALUES (1, 'menu_clicked', '{"menu_key":"P1"}'), (2, 'group_message_sent', '{"group_id":"G"}'), (3, 'login', '{}'))
  AS old (n, kind, properties)
"""


def test_what_older_behaviours_are_about_is_taken_from_their_properties(database: DatabaseFactory) -> None:
    made = database("tracking")
    schema.create(made.owner_dsn)
    upgrade(made.owner_dsn, "0003")
    with psycopg.connect(made.writer_dsn) as writer:
        writer.execute(OLD)
    upgrade(made.owner_dsn, "0004")
    with psycopg.connect(made.writer_dsn) as writer:
        found = writer.execute("SELECT subject, group_id FROM behaviours ORDER BY position").fetchall()
    assert found == [("P1", ""), ("", "G"), ("", "")]


def upgrade(owner_dsn: str, revision: str) -> None:
    engine, config = create_engine(owner_dsn, pool_size=1), Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        connection.execute(sa.text("SELECT 1"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
