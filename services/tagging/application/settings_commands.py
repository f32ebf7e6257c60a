"""Commands on what a tenant decided for all models, tags and segments."""

from dataclasses import dataclass

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.tagging.application.audience_commands import RECOUNT
from services.tagging.application.ports import Audiences
from services.tagging.application.refresh_commands import refresh_all_later
from services.tagging.application.rule_review import reviewed
from services.tagging.domain.tags import Cause
from services.tagging.domain.tenant_settings import TenantSettings, settings_id

REVIEW_ALL = "review_all"
"""Kind of the timer that reviews all customers, page by page."""

_PAGE = 500


@dataclass(frozen=True, slots=True)
class UpdateTenantSettings:
    """Set zone and currency of the tenant."""

    time_zone: str
    currency: str


def update_tenant_settings(command: UpdateTenantSettings, work: UnitOfWork, audiences: Audiences) -> TenantSettings:
    tenant = work.context.tenant
    settings = work.find(TenantSettings, settings_id(tenant))
    if settings is None:
        settings = TenantSettings(settings_id(tenant), tenant)
        work.add(settings)
    zone, currency = settings.time_zone, settings.currency
    if settings.update(command.time_zone, command.currency, work.now):
        audiences.lock(work)
        audiences.keep_settings(work, settings.time_zone, settings.currency)
    if (settings.time_zone, settings.currency) != (zone, currency):
        work.schedule(Timer(RECOUNT, "", work.now))
    if settings.time_zone != zone:
        refresh_all_later(work, audiences)
        work.schedule(Timer(REVIEW_ALL, "", work.now, {"after": -1}))
    return settings


@dataclass(frozen=True, slots=True)
class ReviewAll:
    """Decide the rule tags of the next customers anew, from the one after ordinal `after` on."""

    after: int


def review_all(command: ReviewAll, work: UnitOfWork, audiences: Audiences) -> None:
    audiences.lock(work)
    page = audiences.customers_with_visits(work, command.after, _PAGE)
    if page:
        reviewed(work, audiences, page, Cause.BACKFILL)
        last = page[-1].ordinal
        work.schedule(Timer(REVIEW_ALL, str(last), work.now, {"after": last}))
