"""Why tracking refuses something."""

from chassis.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted


class OrderNotFound(NotFound):
    """No order has this id, or this number in this source."""


class CustomerNotFound(NotFound):
    """Nothing is known of this customer."""


class OrderConflict(AlreadyExists):
    """The order is known with another content, and the revision is not higher."""


class RefundExceedsPaid(FailedPrecondition):
    """More money would be given back than was paid."""


class TimeOrder(InvalidArgument):
    """The payment would be more than five minutes before the placement."""


class CurrencyUnsupported(InvalidArgument):
    """The currency is unknown, or the amount is finer than its smallest unit."""


class CurrencyMismatch(InvalidArgument):
    """The amount is not in the currency of the order."""


class AmountsMismatch(InvalidArgument):
    """The lines do not add up to what is paid without shipping."""


class NegativeAmount(InvalidArgument):
    """An amount is negative."""


class OrderAlreadyPaid(FailedPrecondition):
    """The order is paid, so it cannot be cancelled."""


class CustomerUnresolved(FailedPrecondition):
    """The customer of an order cannot be told by its identifiers."""


class FutureTimestamp(InvalidArgument):
    """An instant is more than five minutes in the future."""


class UnknownTimeZone(InvalidArgument):
    """The time zone is not one of the IANA database."""


class SourceExists(AlreadyExists):
    """A source is registered under this key."""


class SourceNotFound(NotFound):
    """No source is registered under this key."""


class SourceRateExceeded(ResourceExhausted):
    """The source sends more events than it may."""


class CustomerErased(FailedPrecondition):
    """Everything known of this customer is erased."""


class ShareNotFound(NotFound):
    """No share has this id."""


class ShareExists(AlreadyExists):
    """There is a share of this id with another content."""


class EventTypeExists(AlreadyExists):
    """There is an event type of this name: a preset one, or one with another definition."""


class EventTypeNotFound(NotFound):
    """The brand registered no event type of this name."""


class EventTypeLimit(FailedPrecondition):
    """The brand has as many event types as it can have."""


class IncompatibleSchema(FailedPrecondition):
    """Events that were good so far would be no longer; what means something else needs another name."""


class CodeTaken(AlreadyExists):
    """A channel code with this key was made before; keys are never used again."""


class ChannelCodeNotFound(NotFound):
    """No channel code has this key."""


class ChannelCodeArchived(FailedPrecondition):
    """The channel code is archived, so nothing of it can be changed."""


class CodeLimit(FailedPrecondition):
    """The account has as many permanent codes as its platform gives."""


class MenuTooLarge(InvalidArgument):
    """A menu has at most three items, with five below each."""


class DuplicateMenuKey(InvalidArgument):
    """Two items of a menu have the same key."""


class MenuNotFound(NotFound):
    """Nothing was published for this menu."""


class DuplicateButton(InvalidArgument):
    """Two buttons of a content have the same id."""


class ContentNotFound(NotFound):
    """No content is registered under this id."""


class TargetNotAllowed(InvalidArgument):
    """Links lead to https pages on hosts that the brand has listed, and nowhere else."""


class ShortCodeTaken(AlreadyExists):
    """There is a link with this short code."""


class LinkNotFound(NotFound):
    """No link has this short code."""


class FormNotFound(NotFound):
    """No form is defined under this id."""


class SubmissionConflict(AlreadyExists):
    """The form was submitted under this message id with other answers."""


class GroupNotFound(NotFound):
    """No group is registered under this id."""
