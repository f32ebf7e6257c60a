"""Whenever an active RFM model was run: who is in another segment than by the run before it?"""

from collections.abc import Iterator, Mapping
from typing import Final
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.envelope import partition_of
from services.tagging.application.ports import Audiences, KeptRun
from services.tagging.domain.layer_models import LayerCause
from services.tagging.domain.layers.view import NONE
from services.tagging.domain.models import ModelRun, Moved, RfmModel, RunMoves
from services.tagging.domain.rfm import RfmSegment

_SEGMENTS: Final = tuple(map(str, RfmSegment))


def current_run(work: UnitOfWork, audiences: Audiences, model: RfmModel) -> KeptRun | None:
    """The run of an active model by which customers are where they are: of those as of its last date, the last."""
    return audiences.last_run(work, model.key) if model.active else None


def tell_moves(work: UnitOfWork, audiences: Audiences, before: KeptRun, id: UUID, run: ModelRun) -> None:
    """Tell of those whom a run moves; one as of an earlier date than the run before it moves nobody.

    They are told of in parts, each of the customers of one partition, so that what is told of a customer stays in order.
    """
    if run.as_of < before.as_of:
        return
    moves = list(_moves(audiences.run_members(work, before.run), audiences.run_members(work, id)))
    who = {ordinal: node for ordinal, node, erased in audiences.by_ordinal(work, [it[0] for it in moves]) if not erased}
    gone = [who[it] for it, _, after in moves if after == NONE and it in who]
    canonical = audiences.customers(work, gone)
    parts: dict[tuple[int, LayerCause], list[Moved]] = {}
    for ordinal, was, now in moves:
        if ordinal in who:
            node = who[ordinal]
            merged = now == NONE and node in canonical and canonical[node].id != node
            cause = LayerCause.PARAMS if before.version != run.model_version else LayerCause.TIME
            part = parts.setdefault((partition_of(node), LayerCause.MERGE if merged else cause), [])
            part.append(Moved(node, was, now))
    for (_, cause), part in sorted(parts.items()):
        tenant, version = work.context.tenant, run.model_version
        work.add(RunMoves(work.new_id(), tenant, id, run.model, version, cause, tuple(part), work.now))


def _moves(before: Mapping[str, BitMap], after: Mapping[str, BitMap]) -> Iterator[tuple[int, str, str]]:
    """Ordinals with the segments they were and are in, by both."""
    was, now = _placed(before), _placed(after)
    for name, members in was.items():
        for other, others in now.items():
            if name != other:
                yield from ((it, name, other) for it in members & others)
    everybody_was, everybody_is = BitMap.union(*was.values()), BitMap.union(*now.values())
    for name, members in was.items():
        yield from ((it, name, NONE) for it in members - everybody_is)
    for name, members in now.items():
        yield from ((it, NONE, name) for it in members - everybody_was)


def _placed(members: Mapping[str, BitMap]) -> dict[str, BitMap]:
    return {name: members.get(name, BitMap()) for name in _SEGMENTS}
