"""`Analyses` in the transaction of a unit of work, and again out of the events."""

from uuid import UUID

import sqlalchemy as sa
from pyroaring import BitMap

from chassis.commands import UnitOfWork
from services.tagging.application.analysis_ports import TrainedKind
from services.tagging.domain.asset_alerts import AlertReading, AssetAlert
from services.tagging.domain.clusterings import Clustering
from services.tagging.domain.conditions import Universe
from services.tagging.domain.lookalikes import Lookalike
from services.tagging.read_models import asset_alerts, bitmaps, model_runs, segments, trained_runs


class PostgresAnalyses:
    """The tables of alerts and of what was learnt."""

    def keep_alert(self, work: UnitOfWork, alert: AssetAlert) -> None:
        asset_alerts.keep(work.rows, work.context.tenant, alert.key)

    def keep_reading(self, work: UnitOfWork, alert: str, reading: AlertReading, segment: UUID | None) -> None:
        asset_alerts.keep_reading(work.rows, work.context.tenant, alert, reading, segment)

    def keep_trained(self, work: UnitOfWork, kind: TrainedKind, key: str, version: int, run: UUID) -> None:
        trained_runs.keep(work.rows, work.context.tenant, kind, key, version, run)

    def run_members(self, work: UnitOfWork, run: UUID) -> dict[str, BitMap]:
        return model_runs.members(work.rows, work.context.tenant, run)

    def universe(self, work: UnitOfWork, universe: Universe) -> BitMap:
        return segments.Sets(work.rows, work.context.tenant).universe(universe)

    def tagged(self, work: UnitOfWork, tag: str) -> dict[str, BitMap]:
        prefix = bitmaps.of_tag(f"{tag}=")
        found = bitmaps.starting_with(work.rows, work.context.tenant, prefix)
        return {name.removeprefix(prefix): members for name, members in found.items()}


Kept = AssetAlert.Defined | AssetAlert.Read | AssetAlert.Raised | Lookalike.Built | Clustering.Built


def keep_again(rows: sa.Connection, tenant: str, event: Kept) -> None:
    """Write what an event led to."""
    match event:
        case AssetAlert.Defined(key=key):
            asset_alerts.keep(rows, tenant, key)
        case AssetAlert.Read(alert=alert, reading=reading):
            asset_alerts.keep_reading(rows, tenant, alert, reading, None)
        case AssetAlert.Raised(alert=alert, reading=reading, segment=segment):
            asset_alerts.keep_reading(rows, tenant, alert, reading, segment)
        case Lookalike.Built(key=key, built=it):
            trained_runs.keep(rows, tenant, TrainedKind.LOOKALIKE, key, it.version, it.run)
        case Clustering.Built(key=key, built=clusters):
            trained_runs.keep(rows, tenant, TrainedKind.CLUSTERING, key, clusters.version, clusters.run)
