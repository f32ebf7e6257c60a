"""Schedules of models on the wire."""

from scrm.tagging.v1 import model_pb2
from scrm.tagging.v1 import tagging_service_pb2 as pb
from services.tagging.domain.model_schedules import Every, Schedule


def schedule(request: pb.DefineModelRequest | pb.UpdateModelRequest) -> Schedule | None:
    """The schedule that is asked for, if any."""
    if not request.HasField("schedule"):
        return None
    it = request.schedule
    hours, _, minutes = it.time.partition(":")
    every = Every(model_pb2.RunCadence.Name(it.cadence).removeprefix("RUN_CADENCE_"))
    return Schedule(every, it.weekday, int(hours or 0) * 60 + int(minutes or 0))


def message(it: Schedule) -> model_pb2.ModelSchedule:
    hours, minutes = divmod(it.minute, 60)
    return model_pb2.ModelSchedule(
        cadence=model_pb2.RunCadence.Value(f"RUN_CADENCE_{it.every}"),
        weekday=it.weekday,
        time=f"{hours:02}:{minutes:02}",
    )
