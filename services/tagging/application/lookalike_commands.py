"""The command that keeps a look-alike: learnt beforehand, so that nothing else waits for it."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from services.tagging.application.analysis_ports import TrainedKind
from services.tagging.application.layer_ports import LayerRows
from services.tagging.application.ports import Audiences
from services.tagging.application.rule_review import calendar_of
from services.tagging.application.segment_commands import CreateSegment, SegmentResult, create_segment, segment_of
from services.tagging.domain.conditions import InLayer, that
from services.tagging.domain.features import FeatureChoice
from services.tagging.domain.lookalikes import (
    LOOKALIKE,
    SEED,
    Learnt,
    Lookalike,
    LookalikeRun,
    lookalike_id,
    model_key,
)
from services.tagging.domain.segments import Definition


@dataclass(frozen=True, slots=True)
class KeepLookalike:
    """Keep what was learnt, and make a segment of those who are `alike`; `threshold` is the probability of the last of them."""

    key: str
    seed_segment: UUID
    features: FeatureChoice
    random_seed: int
    learnt: Learnt
    seed: BitMap
    alike: BitMap
    threshold: float
    input_position: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class KeptLookalike:
    """A look-alike, its latest version, and the segment."""

    lookalike: Lookalike
    run: LookalikeRun
    segment: SegmentResult


def keep_lookalike(command: KeepLookalike, work: UnitOfWork, audiences: Audiences) -> KeptLookalike:
    tenant, key = work.context.tenant, model_key(command.key)
    universe = segment_of(work, command.seed_segment).universe
    found = work.find(Lookalike, lookalike_id(tenant, command.key))
    lookalike = found or Lookalike(lookalike_id(tenant, command.key), tenant, command.key)
    audiences.lock(work)
    run, version = work.new_id(), len(lookalike.runs) + 1
    alive = audiences.universe(work, universe)
    members = {LOOKALIKE: command.alike & alive, SEED: command.seed & alive}
    as_of = date.fromordinal(calendar_of(work).day(work.now))
    audiences.keep_layers(work, LayerRows(run, key, version, as_of, members))
    audiences.keep_trained(work, TrainedKind.LOOKALIKE, command.key, version, run)
    name = command.name or f"Look-alike {command.key} v{version}"
    condition = that(InLayer(key, LOOKALIKE, run))
    segment = create_segment(CreateSegment(name, Definition(condition=condition), universe), work, audiences)
    built = LookalikeRun(
        version=version,
        run=run,
        seed_segment=command.seed_segment,
        seed_size=len(members[SEED]),
        segment=segment.id,
        size=segment.size,
        threshold=command.threshold,
        features=command.features,
        learnt=command.learnt,
        random_seed=command.random_seed,
        input_position=command.input_position,
        at=work.now,
    )
    lookalike.build(built)
    work.add(lookalike)
    return KeptLookalike(lookalike, built, segment)
