"""What the customer is worth: net per occasion. RFM is run by tagging, which tells no scores of a single customer."""

from decimal import Decimal
from typing import Final

import sqlalchemy as sa
from google.type.money_pb2 import Money

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.profile_sections.orders import amounts, money, rhythm_of
from services.identity.adapters.profile_sections.section import Asked, Section
from services.identity.read_models.profile.orders import orders_of

MISSING: Final = ("RFM", "CLV")
_CENT: Final = Decimal("0.01")


def read(rows: sa.Connection, asked: Asked) -> pb.ValueSection:
    found = orders_of(rows, asked.nodes)
    occasions = len(rhythm_of(found, asked.zone).occasions)
    return pb.ValueSection(net_per_occasion=_shares(amounts(found), occasions), missing_models=MISSING)


def _shares(net: dict[str, Decimal], occasions: int) -> list[Money]:
    """To a hundredth, whatever the currency; nothing without occasions."""
    if not occasions:
        return []
    return [money((it / occasions).quantize(_CENT), currency) for currency, it in sorted(net.items()) if it]


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_VALUE, "value", ("tracking",), read)
