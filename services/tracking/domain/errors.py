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
