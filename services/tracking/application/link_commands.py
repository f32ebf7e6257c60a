"""Making tracked links and forms."""

from dataclasses import dataclass
from typing import Final

from chassis.commands import Handlers, UnitOfWork, handler
from services.tracking.domain.errors import ShortCodeTaken
from services.tracking.domain.form import Form, FormField, form_key
from services.tracking.domain.link import (
    LinkDesign,
    LinkHosts,
    TrackedLink,
    hosts_key,
    link_key,
    require_allowed,
    short_code_of,
)


@dataclass(frozen=True, slots=True)
class ListLinkHosts:
    """Links may lead to these hosts from now on; `tenant` is that of the caller, as below."""

    tenant: str
    hosts: frozenset[str]


@dataclass(frozen=True, slots=True)
class CreateTrackedLink:
    """An empty `short_code` is made up."""

    tenant: str
    short_code: str
    design: LinkDesign


@dataclass(frozen=True, slots=True)
class DefineForm:
    tenant: str
    form_id: str
    fields: tuple[FormField, ...]


def list_link_hosts(command: ListLinkHosts, work: UnitOfWork) -> LinkHosts:
    hosts = work.find(LinkHosts, hosts_key(work.context.tenant))
    if hosts is None:
        hosts = LinkHosts(hosts_key(work.context.tenant), work.context.tenant)
        work.add(hosts)
    hosts.list(command.hosts)
    return hosts


def create_tracked_link(command: CreateTrackedLink, work: UnitOfWork) -> TrackedLink:
    """Raises TargetNotAllowed, ShortCodeTaken."""
    tenant = work.context.tenant
    listed = work.find(LinkHosts, hosts_key(tenant))
    require_allowed(command.design.target, listed.hosts if listed else ())
    short_code = command.short_code or _fresh_code(work)
    if work.find(TrackedLink, link_key(tenant, short_code)):
        raise ShortCodeTaken(field="short_code")
    link = TrackedLink(link_key(tenant, short_code), tenant, short_code, command.design)
    work.add(link)
    return link


def define_form(command: DefineForm, work: UnitOfWork) -> Form:
    """Raises BadFormat, FieldRequired."""
    id = form_key(work.context.tenant, command.form_id)
    form = work.find(Form, id)
    if form is None:
        form = Form(id, work.context.tenant, command.form_id)
        work.add(form)
    form.define(command.fields)
    return form


def _fresh_code(work: UnitOfWork) -> str:
    while True:
        code = short_code_of(work.new_id())
        if work.find(TrackedLink, link_key(work.context.tenant, code)) is None:
            return code


HANDLERS: Final[Handlers] = (
    handler(ListLinkHosts, list_link_hosts, loads=lambda it: [hosts_key(it.tenant)]),
    handler(
        CreateTrackedLink,
        create_tracked_link,
        loads=lambda it: [hosts_key(it.tenant), *([link_key(it.tenant, it.short_code)] if it.short_code else [])],
    ),
    handler(DefineForm, define_form, loads=lambda it: [form_key(it.tenant, it.form_id)]),
)
