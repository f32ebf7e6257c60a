"""What staff and customers have to do with each other, as commands: work orders, follow-ups, contacts and leads."""

from chassis.commands import Handlers
from services.identity.application import contact_commands, lead_commands, work_order_commands
from services.identity.application.vault import Vault


def handlers(vault: Vault) -> Handlers:
    """What carries out all of them."""
    return [*work_order_commands.handlers(vault), *contact_commands.handlers(vault), *lead_commands.HANDLERS]
