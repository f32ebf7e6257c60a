"""All sections of a profile, in the order in which they are answered."""

from collections.abc import Mapping
from typing import Final

from services.identity.adapters.profile_sections import (
    attributes,
    behaviour,
    campaigns,
    freshness,
    identifiers,
    identity,
    membership,
    merges,
    orders,
    permissions,
    tags,
    value,
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
    )
}
"""By their kinds."""
