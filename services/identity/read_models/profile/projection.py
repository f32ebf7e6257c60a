"""The projection behind all profiles: each batch of messages goes to every table in one statement."""

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, Protocol

import sqlalchemy as sa

from chassis.envelope import Incoming
from chassis.projection import Source
from services.identity.read_models.profile import timeline
from services.identity.read_models.profile.conversions import Conversions
from services.identity.read_models.profile.entries import TRACKED, Entry, entry_of
from services.identity.read_models.profile.erased import Erased
from services.identity.read_models.profile.layers import Layers
from services.identity.read_models.profile.members import Members
from services.identity.read_models.profile.orders import Orders
from services.identity.read_models.profile.points import Points
from services.identity.read_models.profile.relations import Relations
from services.identity.read_models.profile.sources import Sources
from services.identity.read_models.profile.tags import Tags
from services.identity.read_models.profile.told import MESSAGES, tables

NAME: Final = "profile"
OWN_STREAM: Final = "identity"


class ProfileProjection:
    """Keeps all tables; made of what other services told."""

    name = NAME
    version = 3
    source: Source = "inbox"
    tables = tables

    def apply(self, items: Sequence[Incoming], rows: sa.Connection) -> None:
        entries: list[Entry] = []
        folds, sources, erased = _folds(), Sources(), Erased()
        for it in items:
            kind = MESSAGES.get(it.type)
            if kind is None:
                continue
            message = it.parse(kind)
            erased.take(it.tenant, it.key, message)
            if it.stream == OWN_STREAM:
                continue
            sources.take(it.tenant, it.stream, it.time)
            entry = entry_of(it, message)
            if entry is not None:
                entries.append(entry)
            if it.type != TRACKED:  # of which there are the most, and which stand nowhere else
                for fold in folds[it.type.split(".")[1]]:
                    fold.take(it.tenant, message)
        timeline.write(rows, entries)
        for fold in chain.from_iterable(folds.values()):
            fold.write(rows)
        sources.write(rows)
        erased.write(rows)


def _folds() -> dict[str, tuple["_Fold", ...]]:
    """By the service that tells what is folded."""
    return {
        "tracking": (Orders(), Relations()),
        "tagging": (Tags(), Layers()),
        "membership": (Members(), Points()),
        "campaigns": (Conversions(),),
    }


class _Fold(Protocol):
    """What a batch says about one thing."""

    def take(self, tenant: str, message: Any) -> None: ...
    def write(self, rows: sa.Connection) -> None: ...
