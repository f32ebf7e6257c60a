"""Commands on personas: a brand adopts a ready rule with one call."""

from dataclasses import dataclass

from chassis.commands import UnitOfWork
from services.tagging.application.ports import Audiences
from services.tagging.application.standing import taxonomy_of
from services.tagging.application.tag_rule_commands import ActivateRule, DefineRule, activate_rule, define_rule
from services.tagging.domain.errors import TagExists, TagNotFound
from services.tagging.domain.personas import PERSONAS
from services.tagging.domain.tag_definitions import TagDefinition, TagKind, ValueMode
from services.tagging.domain.tag_rules import TagRule, TagRules, tag_rules_id
from services.tagging.domain.taxonomy import Taxonomy, preset_id


@dataclass(frozen=True, slots=True)
class AdoptPersona:
    """Have the tag of a persona, with its rule in force; as it stands, if the brand has it already."""

    key: str


def adopt_persona(command: AdoptPersona, work: UnitOfWork, audiences: Audiences) -> TagRule:
    persona, tenant = PERSONAS.get(command.key), work.context.tenant
    if persona is None:
        raise TagNotFound(field="tag_key")
    rules = work.find(TagRules, tag_rules_id(tenant))
    if rules is not None and command.key in rules.active:
        return rules.active[command.key]
    taxonomy = taxonomy_of(work)
    if taxonomy is None:
        taxonomy = Taxonomy.open(tenant)
        work.add(taxonomy)
    if command.key not in taxonomy.tags:
        category = preset_id(tenant, *persona.category)
        taxonomy.define_tag(
            TagDefinition(command.key, persona.name, category, ValueMode.FLAG, TagKind.RULE, manual_allowed=False)
        )
    elif taxonomy.active(command.key).kind is not TagKind.RULE:
        raise TagExists("the key is that of another tag", field="tag_key")
    define_rule(DefineRule(command.key, [("", persona.enter)], persona.exit), work, audiences)
    return activate_rule(ActivateRule(command.key), work, audiences)
