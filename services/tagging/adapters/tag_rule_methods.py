"""The RPCs about tags that follow conditions and facts."""

from datetime import UTC
from typing import Any, TypeVar, cast
from uuid import UUID

from google.protobuf.message import Message

from chassis import context as contexts
from chassis.commands import CommandBus
from chassis.errors import AggregateNotFound, BadFormat, FieldRequired
from chassis.grpc_server import ServicerContext
from chassis.read_models import ReadModels
from scrm.tagging.v1 import tag_pb2
from scrm.tagging.v1 import tag_service_pb2 as pb
from scrm.tagging.v1.tag_service_pb2_grpc import TagServiceServicer
from services.tagging.adapters.condition_wire import condition
from services.tagging.application import wire
from services.tagging.application.persona_commands import AdoptPersona
from services.tagging.application.tag_rule_commands import (
    ActivateRule,
    BackfillRule,
    DefineRule,
    EnableFactTag,
    PauseRule,
)
from services.tagging.domain.claims import Origin
from services.tagging.domain.fact_tags import FACT_TAGS, FactParameters
from services.tagging.domain.personas import PERSONAS
from services.tagging.domain.refresh import REALTIME, Pace, Refresh
from services.tagging.domain.tag_definitions import TagStatus
from services.tagging.domain.tag_rules import Effect, TagRule, TagRules, tag_rules_id
from services.tagging.domain.taxonomy import Taxonomy, taxonomy_id
from services.tagging.read_models.rule_preview import preview

M = TypeVar("M", bound=Message)


class TagRuleMethods(TagServiceServicer):
    """One method per RPC; refusals are raised and answered by the interceptors."""

    def __init__(self, bus: CommandBus, read_models: ReadModels) -> None:
        self._bus = bus
        self._read_models = read_models

    async def CreateRuleTag(
        self, request: pb.CreateRuleTagRequest, context: ServicerContext
    ) -> pb.CreateRuleTagResponse:
        if not request.HasField("enter"):
            raise FieldRequired(field="enter")
        leave = condition(request.exit) if request.HasField("exit") else None
        cases = [(request.value, condition(request.enter))]
        command = DefineRule(
            request.tag_key, cases, leave, request.min_hold_days, schedule=_schedule(request), effect=_effect(request)
        )
        return await self._rule(command, pb.CreateRuleTagResponse)

    async def GetRuleTag(self, request: pb.GetRuleTagRequest, context: ServicerContext) -> pb.GetRuleTagResponse:
        rule = rule_message((await self._rules()).rule(request.tag_key))
        taxonomy = await self._bus.load(Taxonomy, taxonomy_id(contexts.current().tenant))
        if taxonomy.definition(request.tag_key).status is TagStatus.ARCHIVED:
            rule.status = pb.RULE_STATUS_ARCHIVED
        return pb.GetRuleTagResponse(rule=rule)

    async def PreviewRule(self, request: pb.PreviewRuleRequest, context: ServicerContext) -> pb.PreviewRuleResponse:
        tenant, rule = contexts.current().tenant, (await self._rules()).rule(request.tag_key)
        about = {UUID(it) for it in request.customer_ids}
        it = await self._read_models.query(lambda rows: preview(rows, tenant, rule, about))
        return pb.PreviewRuleResponse(
            matching=it.meant,
            entering=it.entering,
            leaving=it.leaving,
            sample_customer_ids=[str(one) for one in it.sample],
            verdicts=[
                pb.RuleVerdict(customer_id=str(one.customer), tagged=one.tagged, meant=one.meant) for one in it.verdicts
            ],
        )

    async def ActivateRule(self, request: pb.ActivateRuleRequest, context: ServicerContext) -> pb.ActivateRuleResponse:
        return await self._rule(ActivateRule(request.tag_key), pb.ActivateRuleResponse)

    async def PauseRule(self, request: pb.PauseRuleRequest, context: ServicerContext) -> pb.PauseRuleResponse:
        return await self._rule(PauseRule(request.tag_key), pb.PauseRuleResponse)

    async def BackfillRule(self, request: pb.BackfillRuleRequest, context: ServicerContext) -> pb.BackfillRuleResponse:
        return await self._rule(BackfillRule(request.tag_key), pb.BackfillRuleResponse)

    async def ListFactTags(self, request: pb.ListFactTagsRequest, context: ServicerContext) -> pb.ListFactTagsResponse:
        active = (await self._rules()).active
        return pb.ListFactTagsResponse(
            fact_tags=[
                pb.FactTag(
                    tag_key=key,
                    display_name=it.name,
                    value_mode=wire.mode(it.mode),
                    enabled=key in active and active[key].origin == Origin.FACT,
                )
                for key, it in sorted(FACT_TAGS.items())
            ]
        )

    async def EnableFactTag(
        self, request: pb.EnableFactTagRequest, context: ServicerContext
    ) -> pb.EnableFactTagResponse:
        parameters = FactParameters(tuple(request.edges), tuple(request.values))
        return await self._rule(EnableFactTag(request.tag_key, parameters), pb.EnableFactTagResponse)

    async def ListPersonas(self, request: pb.ListPersonasRequest, context: ServicerContext) -> pb.ListPersonasResponse:
        active = (await self._rules()).active
        return pb.ListPersonasResponse(
            personas=[
                pb.Persona(tag_key=key, display_name=it.name, enter=it.comes, exit=it.goes, adopted=key in active)
                for key, it in sorted(PERSONAS.items())
            ]
        )

    async def AdoptPersona(self, request: pb.AdoptPersonaRequest, context: ServicerContext) -> pb.AdoptPersonaResponse:
        return await self._rule(AdoptPersona(request.tag_key), pb.AdoptPersonaResponse)

    async def _rules(self) -> TagRules:
        id = tag_rules_id(contexts.current().tenant)
        try:
            return await self._bus.load(TagRules, id)
        except AggregateNotFound:
            return TagRules(id, contexts.current().tenant)

    async def _rule(self, command: Any, response: type[M]) -> M:
        def reply(it: TagRule) -> M:
            return response(rule=rule_message(it))

        return cast(M, await self._bus.execute(command, reply=reply))


def rule_message(it: TagRule) -> pb.RuleTag:
    return pb.RuleTag(
        tag_key=it.tag,
        version=it.version,
        status=pb.RuleStatus.Value(f"RULE_STATUS_{it.status}"),
        cases=[pb.RuleTag.Case(value=one.value, segment_id=str(one.segment)) for one in it.cases],
        exit_segment_id=_text(it.exit_segment),
        min_hold_days=it.min_hold_days,
        **wire.times(it),
    )


def _schedule(request: pb.CreateRuleTagRequest) -> Refresh:
    """Raises FieldRequired for a schedule that wants a time, BadFormat for one that has none."""
    if request.schedule == tag_pb2.RULE_SCHEDULE_AT:
        if not request.schedule_time:
            raise FieldRequired(field="schedule_time")
        hours, minutes = request.schedule_time.split(":")
        return Refresh(Pace.DAILY, int(hours) * 60 + int(minutes))
    if request.schedule_time:
        raise BadFormat("only a rule with the schedule AT has a time", field="schedule_time")
    return Refresh(Pace.DAILY) if request.schedule == tag_pb2.RULE_SCHEDULE_DAILY else REALTIME


def _effect(request: pb.CreateRuleTagRequest) -> Effect:
    return Effect(
        request.effective_from.ToDatetime(UTC) if request.HasField("effective_from") else None,
        request.effective_to.ToDatetime(UTC) if request.HasField("effective_to") else None,
    )


def _text(id: UUID | None) -> str:
    return str(id or "")
