"""Why the tagging service refuses."""

from chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, PermissionDenied


class CustomerNotFound(NotFound):
    """There is no such customer."""


class SegmentNotFound(NotFound):
    """There is no such segment."""


class SnapshotNotFound(NotFound):
    """There is no such snapshot."""


class ModelNotFound(NotFound):
    """There is no such model."""


class RunNotFound(NotFound):
    """There is no such run of the model."""


class LayerNotFound(NotFound):
    """The model has no such layer."""


class TagNotFound(NotFound):
    """There is no such tag."""


class CustomerNotScored(NotFound):
    """The run says nothing about this customer."""


class NameTaken(AlreadyExists):
    """A segment has this name already."""


class ModelExists(AlreadyExists):
    """A model with this key and other parameters exists."""


class ConditionTooComplex(InvalidArgument):
    """A condition is larger than allowed."""


class SegmentCycle(InvalidArgument):
    """A segment would depend on itself."""


class SegmentNotStatic(FailedPrecondition):
    """Only static segments have members set by hand."""


class SegmentKindFixed(FailedPrecondition):
    """The kind of a segment cannot be changed."""


class SegmentIsArchived(FailedPrecondition):
    """The segment is archived."""


class SegmentInUse(FailedPrecondition):
    """Other segments are made of this one."""


class TagNotManual(FailedPrecondition):
    """A tag of a rule is not assigned or removed by hand."""


class TooManyTags(FailedPrecondition):
    """The customer has as many tags as allowed."""


class UnknownTimeZone(InvalidArgument):
    """The zone is not an IANA time zone."""


class AsOfInFuture(InvalidArgument):
    """The day lies in the future."""


class ModelParams(InvalidArgument):
    """A parameter of a model is out of its bounds; `path` says which."""


class CustomerErased(FailedPrecondition):
    """Everything known of this customer is erased."""


class UnknownDimension(InvalidArgument):
    """A condition asks for an attribute that there is not."""


class WrongValueType(InvalidArgument):
    """A condition compares with a value of another type."""


class WrongOperator(InvalidArgument):
    """A condition compares in a way that is not for this type."""


class ArchivedTag(InvalidArgument):
    """A condition asks for a tag that is archived."""


class MalformedCondition(InvalidArgument):
    """A part of a condition is missing or contradicts another."""


class ConditionSyntax(InvalidArgument):
    """The text of a condition cannot be read."""


class CategoryNotFound(NotFound):
    """There is no such category."""


class CategoryCycle(InvalidArgument):
    """A category would be below itself."""


class DepthExceeded(InvalidArgument):
    """A tree has more levels than allowed."""


class CategoryInUse(FailedPrecondition):
    """The category has tags or other categories below it."""


class SensitivityFixed(FailedPrecondition):
    """Tags that exist do not become sensitive, or cease to be so, by moving them."""


class TagExists(AlreadyExists):
    """A tag with this key is defined."""


class TagNotActive(FailedPrecondition):
    """The tag was archived or merged into another."""


class TagInUse(FailedPrecondition):
    """Something that is active rests on the tag."""


class TagsNotAlike(FailedPrecondition):
    """Tags of different modes, kinds or values are not merged."""


class TaxonomyFull(FailedPrecondition):
    """The tenant has as many categories or tags as allowed."""


class ValueNotAllowed(InvalidArgument):
    """The tag has no such value."""


class ConsentMissing(FailedPrecondition):
    """The customer has not agreed to what the tag is for."""


class StaffScope(PermissionDenied):
    """The customer is not one of the stores of the caller."""


class RuleNotFound(NotFound):
    """There is no rule for this tag."""


class RuleCycle(InvalidArgument):
    """A rule would depend on its own tag."""


class BandOverlap(InvalidArgument):
    """The edges of bands do not rise."""


class TagBatchNotFound(NotFound):
    """There is no such batch."""


class RehearsalTooLarge(InvalidArgument):
    """A draft would have to be followed through the past of too many customers."""


class AlertNotFound(NotFound):
    """There is no such alert."""


class AlertIsArchived(FailedPrecondition):
    """The alert is archived."""


class MalformedAlert(InvalidArgument):
    """The terms of an alert contradict one another."""


class SeedTooSmall(FailedPrecondition):
    """A look-alike needs at least 100 customers to be like."""


class PopulationTooSmall(FailedPrecondition):
    """There are too few other customers to tell anybody apart from, or too few at all."""


class NoFeatures(FailedPrecondition):
    """Nothing of what was asked for tells customers apart."""


class ModelTooWeak(FailedPrecondition):
    """What was learnt tells the seed from others hardly better than chance."""


class ClustersNotDistinct(FailedPrecondition):
    """The customers do not differ in as many ways."""


class LookalikeNotFound(NotFound):
    """There is no such look-alike, or no such version of it."""


class ClusteringNotFound(NotFound):
    """There is no such clustering, or no such version or cluster of it."""


class SurveyLinksFull(FailedPrecondition):
    """The cluster has as many surveys as allowed."""


class ListNotRefreshed(InvalidArgument):
    """A list that is kept by hand follows from nothing that could be found anew."""


class RuleNeverEffective(InvalidArgument):
    """A rule would end before it begins."""
