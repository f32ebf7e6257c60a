"""What identity refuses, and why: the reasons a caller can meet."""

from chassis.errors import AlreadyExists, InvalidArgument, NotFound


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
