"""All commands of tracking with the functions that carry them out."""

from typing import Final

from chassis.commands import Handlers
from services.tracking.application import commands, source_commands

HANDLERS: Final[Handlers] = (*commands.HANDLERS, *source_commands.HANDLERS)
