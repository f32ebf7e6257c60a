"""All sections of a profile, in the order in which they are answered."""

from collections.abc import Mapping
from typing import Final

from services.identity.adapters.profile_sections import (
    attributes,
    behaviour,
    campaigns,
    contacts,
    follow_ups,
    freshness,
    guide,
    identifiers,
    identity,
    layers,
    leads,
    membership,
    merges,
    orders,
    permissions,
    relations,
    tags,
    value,
    work_orders,
)
from services.identity.adapters.profile_sections.section import Section

SECTIONS: Final[Mapping[int, Section]] = {
    it.SECTION.kind: it.SECTION
    for it in (
        identity,
        identifiers,
        freshness,
        permissions,
        merges,
        behaviour,
        orders,
        value,
        tags,
        membership,
        campaigns,
        attributes,
        contacts,
        follow_ups,
        work_orders,
        leads,
        guide,
        layers,
        relations,
    )
}
"""By their kinds."""
