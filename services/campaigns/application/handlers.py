"""Every command of campaigns with its handler."""

from chassis.commands import Handlers
from services.campaigns.application.commands import Tables, people_handlers
from services.campaigns.application.crediting import credit_handlers
from services.campaigns.application.dispatching import dispatch_handlers
from services.campaigns.application.flow_commands import flow_handlers
from services.campaigns.application.flow_sending import flow_send_handlers
from services.campaigns.application.flow_steps import flow_step_handlers


def handlers(tables: Tables) -> Handlers:
    """All of them, on these tables."""
    of_flows = [*flow_handlers(tables), *flow_step_handlers(tables), *flow_send_handlers(tables)]
    return [*people_handlers(tables), *dispatch_handlers(tables), *credit_handlers(tables), *of_flows]
