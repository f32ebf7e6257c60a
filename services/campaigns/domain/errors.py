"""What campaigns refuses, one class per reason."""

from chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound


class RangeOverlap(InvalidArgument):
    """Two bucket ranges of an experiment share a bucket."""


class ArmKeyNotUsable(InvalidArgument):
    """An arm has the key of another arm, or a reserved one."""


class TemplateMalformed(InvalidArgument):
    """A message text opens a variable that it does not close, or closes one it did not open."""


class ScheduleInPast(InvalidArgument):
    """The instant to send at has passed."""


class ExperimentIdTaken(AlreadyExists):
    """Another broadcast of this tenant runs, or ran, the experiment with this id."""


class DesignFrozen(FailedPrecondition):
    """The design of an experiment cannot change once its broadcast is approved."""


class BroadcastNotDraft(FailedPrecondition):
    """The broadcast has been approved or cancelled already."""


class BroadcastNotCancellable(FailedPrecondition):
    """The broadcast is over."""


class BroadcastNotApproved(FailedPrecondition):
    """The broadcast has not been approved, or was cancelled."""


class BroadcastNotAssigning(FailedPrecondition):
    """The broadcast is not assigning its units now."""


class BroadcastNotSending(FailedPrecondition):
    """The broadcast is not sending now."""


class PageOutOfTurn(FailedPrecondition):
    """This page of the audience has been assigned already, or an earlier one has not."""


class ReservationOutstanding(FailedPrecondition):
    """Deliveries of this batch are reserved and not settled yet."""


class ReservationUnknown(FailedPrecondition):
    """There is no such reservation in this batch."""


class NoRemainder(FailedPrecondition):
    """The broadcast has no remainder that waits for an arm."""


class ArmUnknown(InvalidArgument):
    """The experiment has no such arm."""


class NoExperiment(FailedPrecondition):
    """The broadcast carries no experiment."""


class EtagMismatch(FailedPrecondition):
    """The resource has changed since the etag was read."""


class BroadcastNotFound(NotFound):
    """There is no such broadcast."""


class AudienceNotFound(NotFound):
    """There is no such segment or snapshot."""


class FlowInvalid(InvalidArgument):
    """The definition of a flow breaks rules; the metadata lists all of them."""


class FlowNotFound(NotFound):
    """There is no such flow."""


class FlowOver(FailedPrecondition):
    """The flow is ended for good."""


class FlowNotPublished(FailedPrecondition):
    """The flow was never published, so that there is nothing to end."""


class NothingToPublish(FailedPrecondition):
    """The flow has no draft that differs from what is published."""
