"""All commands of tracking with the functions that carry them out."""

from typing import Final

from chassis.commands import Handlers
from services.tracking.application import commands, source_commands
from services.tracking.application.erasure_commands import Tables, erasure_handlers

HANDLERS: Final[Handlers] = (*commands.HANDLERS, *source_commands.HANDLERS)
"""Those that callers ask for."""


def handlers(erasures: Tables) -> Handlers:
    """All of them; which erasures are under way is kept in `erasures`."""
    return (*HANDLERS, *erasure_handlers(erasures))
