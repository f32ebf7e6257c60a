"""What identity refuses, and why: the reasons a caller can meet."""

from chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted


class BadIdentifier(InvalidArgument):
    """A strong identifier does not have the form of its namespace."""


class UnknownNamespace(InvalidArgument):
    """There is no such identifier namespace."""


class TooManyIdentifiers(InvalidArgument):
    """A call carries more identifiers than one person can show at a time."""


class NoUsableIdentifier(InvalidArgument):
    """None of the identifiers of the call can tell who it is."""


class FutureTimestamp(InvalidArgument):
    """The instant lies more than five minutes in the future."""


class CustomerNotFound(NotFound):
    """This tenant has no such customer."""


class CustomerIdTaken(AlreadyExists):
    """The chosen customer id is already in use."""


class IdentifierTaken(AlreadyExists):
    """Somebody else has the identifier."""


class IdentifierLimit(FailedPrecondition):
    """The customer would have more identifiers of the kind than one person has."""


class IdentifierUnusable(FailedPrecondition):
    """The identifier tells nobody: a placeholder, shared by many, or blocked."""


class IdentifierNotFound(NotFound):
    """The customer does not have this identifier."""


class SameCustomer(FailedPrecondition):
    """The two are one customer already."""


class MemberConflict(FailedPrecondition):
    """Both have a member number."""


class SurvivorNotKnown(FailedPrecondition):
    """An anonymous customer cannot go on for a known one."""


class NeverMerge(FailedPrecondition):
    """Somebody said that the two are different persons."""


class MergeNotFound(NotFound):
    """There is no such merge."""


class CustomerErased(FailedPrecondition):
    """What was known of the person is erased, or about to be."""


class AlreadyUnmerged(FailedPrecondition):
    """The merge was taken back before."""


class StoreNotFound(NotFound):
    """This tenant has no such store."""


class StaffNotFound(NotFound):
    """This tenant has no such member of staff."""


class StaffInactive(FailedPrecondition):
    """The member of staff has left."""


class SameStaff(InvalidArgument):
    """Customers can be transferred to somebody else only."""


class NoStaffAvailable(FailedPrecondition):
    """Nobody of the code is at work and free, and nobody stands in."""


class TransferNotFound(NotFound):
    """There is no such transfer."""


class UnknownTimeZone(InvalidArgument):
    """There is no such IANA time zone."""


class NamespaceFixed(FailedPrecondition):
    """This rule of the namespace is for ever."""


class NamespacePriorityClash(FailedPrecondition):
    """A weak namespace would tell as much as a strong one, or more."""


class TooManyNamespaces(FailedPrecondition):
    """The brand has as many namespaces of its own as it can have."""


class TooManyBlockedValues(FailedPrecondition):
    """The brand blocks as many values and patterns as it can."""


class BlockPatternTooBroad(InvalidArgument):
    """The pattern says too little to tell values apart: it needs three characters that stand for themselves."""


class BlockedValueNotFound(NotFound):
    """The brand blocks no such value."""


class CustomerIdMismatch(FailedPrecondition):
    """The identifiers of the row are those of another customer than the one it names."""


class RehearsalRunning(ResourceExhausted):
    """Another rehearsal is under way; one runs at a time."""


class IllegalTransition(FailedPrecondition):
    """It cannot go there from where it is."""


class NotResolved(FailedPrecondition):
    """A work order is rated once it is resolved."""


class WorkOrderNotFound(NotFound):
    """There is no such work order."""


class WorkOrderMirrored(FailedPrecondition):
    """Another system keeps the work order; it changes there."""


class FollowUpNotFound(NotFound):
    """The customer has no such follow-up."""


class FollowUpSuperseded(FailedPrecondition):
    """The follow-up was corrected before."""


class LeadNotFound(NotFound):
    """There is no such lead."""


class LeadOpen(AlreadyExists):
    """The customer has an open lead of the category."""


class LeadClosed(FailedPrecondition):
    """The lead was won or lost."""


class UnknownAttribute(InvalidArgument):
    """There is no attribute of this key."""


class TypeMismatch(InvalidArgument):
    """The value is not of the type of its attribute."""


class BirthdateChangeLimit(FailedPrecondition):
    """The customer changed the birthdate less than 365 days ago."""


class AttributeKeyTaken(AlreadyExists):
    """There is another attribute of this key."""


class AttributeLimit(FailedPrecondition):
    """The tenant has as many attributes as anybody may have."""


class ConsentMissing(FailedPrecondition):
    """The customer did not consent to what this needs."""


class BadMatchModel(InvalidArgument):
    """The figures are no model by which customers can be compared."""


class CandidateNotFound(NotFound):
    """This tenant has no such match candidate."""


class CandidateNotOpen(FailedPrecondition):
    """The match candidate was decided before, or is out of date."""


class MatchRunNotFound(NotFound):
    """This tenant has no such run of matching."""


class VerificationRequired(FailedPrecondition):
    """Nobody has verified that the request comes from the person concerned."""


class ErasureOpen(FailedPrecondition):
    """There is an open case for this customer."""


class ErasureStarted(FailedPrecondition):
    """What has been removed cannot be brought back."""


class ErasureCaseNotFound(NotFound):
    """There is no such case."""


class ErasureUnfinished(FailedPrecondition):
    """Not everything of this case is erased yet."""
