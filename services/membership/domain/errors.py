"""What membership refuses, by name; `error_reason.proto` lists the same reasons."""

from chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound


class ProgramNotDefined(FailedPrecondition):
    """This tenant has no membership program."""


class ProgramNotFound(NotFound):
    """There is no membership program to show."""


class ProgramExists(AlreadyExists):
    """This tenant already has another membership program."""


class CurrencyUnknown(InvalidArgument):
    """Not a currency this service can count in."""


class CurrencyUnsupported(InvalidArgument):
    """Not the currency of the program."""


class ZoneUnknown(InvalidArgument):
    """Not a time zone of the IANA database."""


class MemberNotFound(NotFound):
    """Nothing is known about such a customer."""


class NotKnown(FailedPrecondition):
    """An anonymous customer cannot be a member."""


class NotAMember(FailedPrecondition):
    """The customer is not a member."""


class GrantRefUsed(AlreadyExists):
    """This source and reference have granted another amount."""


class GrantNotFound(NotFound):
    """No points were granted for this source and reference."""


class ReversalExceedsGrant(FailedPrecondition):
    """More points than are left of the grant cannot be reversed."""


class InsufficientPoints(FailedPrecondition):
    """The account has fewer points available."""


class BurnRefUsed(AlreadyExists):
    """This reference has burned another amount."""


class BurnNotFound(NotFound):
    """No points were burned under this reference."""


class OrderNotCounted(FailedPrecondition):
    """This order was never counted, so it cannot be refunded here."""


class CustomerErased(FailedPrecondition):
    """Everything known of this customer is erased."""
