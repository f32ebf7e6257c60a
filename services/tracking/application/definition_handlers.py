"""All commands about what a brand defines, with the functions that carry them out."""

from chassis.commands import Handlers
from services.tracking.application import (
    channel_commands,
    content_commands,
    group_commands,
    link_commands,
    menu_commands,
    plan_commands,
)
from services.tracking.application.quarantine_commands import Quarantines, quarantine_handlers


def definition_handlers(quarantines: Quarantines) -> Handlers:
    """All of them, on these tables."""
    return (
        *plan_commands.HANDLERS,
        *channel_commands.HANDLERS,
        *menu_commands.HANDLERS,
        *content_commands.HANDLERS,
        *link_commands.HANDLERS,
        *group_commands.HANDLERS,
        *quarantine_handlers(quarantines),
    )
