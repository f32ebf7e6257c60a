"""All commands of the analysis of behaviours, and the timers that call for them."""

from typing import Any, Final

from chassis.commands import Handlers
from services.tracking.application.insight_commands import INSIGHT_TIMERS, insight_handlers
from services.tracking.application.path_commands import PATH_TIMERS, path_handlers
from services.tracking.application.ports import Facts
from services.tracking.application.share_commands import SHARE_HANDLERS

TIMERS: Final[dict[str, Any]] = {**PATH_TIMERS, **INSIGHT_TIMERS}


def analysis_handlers(facts: Facts) -> Handlers:
    return (*path_handlers(facts), *insight_handlers(facts), *SHARE_HANDLERS)
