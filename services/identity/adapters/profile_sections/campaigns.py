"""What campaigns sent to the customer, and the orders that count for them."""

from typing import Any, Final

import sqlalchemy as sa

from scrm.identity.v1 import profile_pb2 as pb
from services.identity.adapters.profile_sections.orders import money
from services.identity.adapters.profile_sections.section import Asked, Section, facts_of, timestamp
from services.identity.read_models.profile.conversions import conversions_of
from services.identity.read_models.profile.entries import DELIVERY
from services.identity.read_models.profile.timeline import Wanted, page_of

MOST: Final = 10


def read(rows: sa.Connection, asked: Asked) -> pb.CampaignsSection:
    deliveries = page_of(rows, asked.nodes, Wanted(kinds=(DELIVERY,)), None, MOST)
    conversions = conversions_of(rows, asked.nodes, MOST)
    return pb.CampaignsSection(
        deliveries=[_delivery(it) for it in deliveries], conversions=[_conversion(it) for it in conversions]
    )


def _delivery(row: Any) -> pb.DeliveryLook:
    facts = facts_of(row)
    return pb.DeliveryLook(
        delivery_id=row.ref,
        broadcast_id=facts.get("broadcast_id", ""),
        arm=facts.get("arm", ""),
        send_time=timestamp(row.occurred_at),
    )


def _conversion(row: Any) -> pb.ConversionLook:
    return pb.ConversionLook(
        broadcast_id=str(row.broadcast),
        order_id=str(row.order_id),
        variant=row.variant,
        net=money(row.net, row.currency),
        pay_time=timestamp(row.paid_at),
    )


SECTION: Final = Section(pb.PROFILE_SECTION_KIND_CAMPAIGNS, "campaigns", ("campaigns",), read)
