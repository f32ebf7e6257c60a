"""Every command of campaigns with its handler."""

from chassis.commands import Handlers
from services.campaigns.application.commands import Tables, people_handlers
from services.campaigns.application.crediting import credit_handlers
from services.campaigns.application.dispatching import dispatch_handlers


def handlers(tables: Tables) -> Handlers:
    """All of them, on these tables."""
    return [*people_handlers(tables), *dispatch_handlers(tables), *credit_handlers(tables)]
