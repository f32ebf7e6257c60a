"""The words that conditions of a tenant may use: the attributes it defined (spec TG-4)."""

import sqlalchemy as sa

from services.tagging.domain.conditions.vocabulary import Vocabulary, attribute
from services.tagging.read_models import sql

_ATTRIBUTES = "SELECT key, type FROM attribute_definitions WHERE tenant = %s"


def vocabulary(rows: sa.Connection, tenant: str) -> Vocabulary:
    return Vocabulary({key: attribute(key, kind) for key, kind in sql.fetch(rows, _ATTRIBUTES, tenant)})
