"""Requests about namespaces and blocked values as commands, and what is answered to them."""

from collections.abc import Sequence
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import BadFormat
from scrm.identity.v1 import namespace_pb2 as pb
from services.identity.application.namespace_commands import BlockIdentifierValue, SetNamespaceConfig
from services.identity.application.published_namespaces import namespace
from services.identity.application.rehearsing import Rehearsed
from services.identity.domain.errors import UnknownNamespace
from services.identity.domain.forms import FormName
from services.identity.domain.identifiers import GivenIdentifier, IdentifierReader
from services.identity.domain.namespace_settings import BlockedValue, NamespaceConfig, NamespaceSettings
from services.identity.domain.namespaces import NAMESPACES, Namespace
from services.identity.domain.patterns import is_pattern
from services.identity.domain.rehearsal_report import Finding

_FORMS: Final = {pb.IdentifierForm.Value(f"IDENTIFIER_FORM_{it}"): it for it in FormName}


def set_command(request: pb.SetNamespaceConfigRequest) -> SetNamespaceConfig:
    """Raises BadFormat for an etag that was never given."""
    if request.etag and not (request.etag.isascii() and request.etag.isdecimal()):
        raise BadFormat("not an etag of a namespace", field="etag")
    return SetNamespaceConfig(config(request.config), int(request.etag) if request.etag else None)


def config(it: pb.Namespace) -> NamespaceConfig:
    return NamespaceConfig(
        name=it.namespace,
        priority=it.priority,
        form=_FORMS[it.form],
        scoped=it.scoped,
        limit=it.limit.count,
        per_scope=it.limit.per_scope,
        window_days=it.limit.window_days or None,
        ever=it.limit.ever,
        strong=it.strong,
        transferable=it.transferable,
    )


def configured(settings: NamespaceSettings, name: str) -> pb.SetNamespaceConfigResponse:
    return pb.SetNamespaceConfigResponse(config=_shown(settings, settings.namespaces[name]), etag=_etag(settings))


def got(settings: NamespaceSettings | None, name: str) -> pb.GetNamespaceConfigResponse:
    """Raises UnknownNamespace."""
    found = (settings.namespaces if settings else NAMESPACES).get(name)
    if found is None:
        raise UnknownNamespace(field="namespace", ns=name)
    return pb.GetNamespaceConfigResponse(config=_shown(settings, found), etag=_etag(settings))


def listed(settings: NamespaceSettings | None) -> Sequence[pb.Namespace]:
    """All of them, the most telling first."""
    namespaces = (settings.namespaces if settings else NAMESPACES).values()
    return [_shown(settings, it) for it in sorted(namespaces, key=lambda it: (it.priority, it.name))]


def rehearsed(it: Rehearsed) -> pb.PreviewNamespaceConfigResponse:
    report = it.report
    return pb.PreviewNamespaceConfigResponse(
        customers=report.customers,
        merging=_finding(report.merging),
        splitting=_finding(report.splitting),
        changing=_finding(report.changing),
        unexplained=report.unexplained,
        events=it.events,
        complete=it.complete,
    )


def block_command(
    request: pb.BlockIdentifierValueRequest, reader: IdentifierReader, tenant: str
) -> BlockIdentifierValue:
    """Raises UnknownNamespace, BadIdentifier for a value that is none, and BadFormat for the scope of a pattern."""
    if not is_pattern(request.pattern):
        key = reader.key_of(tenant, GivenIdentifier(request.namespace, request.pattern, request.scope))
        return BlockIdentifierValue(request.namespace, key=key)
    if request.scope:
        raise BadFormat("a pattern fits values of all scopes", field="scope")
    return BlockIdentifierValue(request.namespace, pattern=request.pattern)


def blocked(it: BlockedValue) -> pb.BlockedIdentifierValue:
    create_time = Timestamp()
    create_time.FromDatetime(it.blocked_at)
    return pb.BlockedIdentifierValue(
        block_id=str(it.block_id),
        namespace=it.namespace,
        scope=it.scope,
        pattern=it.pattern or "",
        create_time=create_time,
    )


def _finding(it: Finding) -> pb.RehearsedCustomers:
    return pb.RehearsedCustomers(count=it.count, sample_customer_ids=[str(id) for id in it.samples])


def _shown(settings: NamespaceSettings | None, it: Namespace) -> pb.Namespace:
    return namespace(NamespaceConfig.of(it), settings.versions.get(it.name, 0) if settings else 0)


def _etag(settings: NamespaceSettings | None) -> str:
    return str(settings.revision if settings else 0)
