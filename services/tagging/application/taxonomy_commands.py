"""Commands on categories and tags: what there is to tag customers with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from pyroaring import BitMap

from chassis.commands import UnitOfWork
from chassis.due_times import Timer
from services.tagging.application.ports import Audiences
from services.tagging.application.standing import cases, conclude, taxonomy_of
from services.tagging.domain.claims import Cause
from services.tagging.domain.errors import TagInUse, TagsNotAlike
from services.tagging.domain.tag_definitions import TagDefinition, TagKind, plain, value_tree
from services.tagging.domain.tag_rules import TagRules, tag_rules_id
from services.tagging.domain.tags import CustomerTags, tags_id
from services.tagging.domain.taxonomy import Category, Taxonomy

REPOINT_TAGS: Final = "repoint_tags"
"""Kind of the timer that moves the assignments of a merged tag, page by page."""

_PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class CategoryResult:
    """A category and the tree it is in."""

    id: UUID
    taxonomy: Taxonomy


@dataclass(frozen=True, slots=True)
class CreateCategory:
    """Add a category below another one, or as a root."""

    name: str
    parent_id: UUID | None
    sensitive: bool


def create_category(command: CreateCategory, work: UnitOfWork) -> CategoryResult:
    taxonomy, id = _opened(work), work.new_id()
    name = plain(command.name, "display_name")
    taxonomy.create_category(Category(id, name, command.parent_id, command.sensitive))
    return _kept(work, taxonomy, id)


@dataclass(frozen=True, slots=True)
class MoveCategory:
    """Put a category, with all that is below it, below another one or at the root."""

    category_id: UUID
    parent_id: UUID | None


def move_category(command: MoveCategory, work: UnitOfWork) -> CategoryResult:
    taxonomy = _opened(work)
    taxonomy.move_category(command.category_id, command.parent_id)
    return _kept(work, taxonomy, command.category_id)


@dataclass(frozen=True, slots=True)
class RenameCategory:
    """Give a category another name."""

    category_id: UUID
    name: str


def rename_category(command: RenameCategory, work: UnitOfWork) -> CategoryResult:
    taxonomy = _opened(work)
    taxonomy.rename_category(command.category_id, plain(command.name, "display_name"))
    return _kept(work, taxonomy, command.category_id)


@dataclass(frozen=True, slots=True)
class ArchiveCategory:
    """Take away a category that has nothing in it."""

    category_id: UUID


def archive_category(command: ArchiveCategory, work: UnitOfWork) -> None:
    taxonomy = _opened(work)
    taxonomy.archive_category(command.category_id)
    _kept(work, taxonomy, command.category_id)


@dataclass(frozen=True, slots=True)
class TagResult:
    """A tag as it is defined, and the tree it is in."""

    definition: TagDefinition
    taxonomy: Taxonomy


@dataclass(frozen=True, slots=True)
class CreateTag:
    """Define a tag."""

    definition: TagDefinition


def create_tag(command: CreateTag, work: UnitOfWork) -> TagResult:
    taxonomy = _opened(work)
    taxonomy.define_tag(_in_one_spelling(command.definition))
    _kept(work, taxonomy, command.definition.category)
    return TagResult(taxonomy.tags[command.definition.key], taxonomy)


@dataclass(frozen=True, slots=True)
class UpdateTag:
    """Change name, category, values, days to live of a tag, or whether staff may use it; None: as it is."""

    key: str
    name: str | None = None
    category: UUID | None = None
    values: Sequence[str] | None = None
    ttl_days: int | None = None
    manual_allowed: bool | None = None


def update_tag(command: UpdateTag, work: UnitOfWork) -> TagResult:
    taxonomy = _opened(work)
    before = taxonomy.active(command.key)
    names = ("name", "category", "values", "ttl_days", "manual_allowed")
    told = {name: value for name in names if (value := getattr(command, name)) is not None}
    taxonomy.update_tag(_in_one_spelling(replace(before, **told)))
    return TagResult(taxonomy.tags[command.key], taxonomy)


@dataclass(frozen=True, slots=True)
class ArchiveTag:
    """Let a tag be assigned no more; the assignments stay."""

    key: str


def archive_tag(command: ArchiveTag, work: UnitOfWork, audiences: Audiences) -> TagResult:
    taxonomy = _opened(work)
    taxonomy.active(command.key)
    _require_unused(work, audiences, command.key)
    taxonomy.archive_tag(command.key)
    return TagResult(taxonomy.tags[command.key], taxonomy)


@dataclass(frozen=True, slots=True)
class MergeTags:
    """Let everything assigned as one tag count as another; the first is gone then."""

    key: str
    into: str


def merge_tags(command: MergeTags, work: UnitOfWork, audiences: Audiences) -> TagResult:
    taxonomy = _opened(work)
    if taxonomy.active(command.key).kind in (TagKind.RULE, TagKind.FACT):
        raise TagsNotAlike(field="tag_key")
    taxonomy.active(command.into)
    _require_unused(work, audiences, command.key)
    taxonomy.merge_tags(command.key, command.into)
    repoint_tags(RepointTags(command.key, command.into, None), work, audiences)
    return TagResult(taxonomy.tags[command.into], taxonomy)


@dataclass(frozen=True, slots=True)
class RepointTags:
    """Move the assignments of the next nodes, from the one behind `after` on, from one tag to another."""

    key: str
    into: str
    after: UUID | None


def repoint_tags(command: RepointTags, work: UnitOfWork, audiences: Audiences) -> None:
    audiences.lock(work)
    nodes = audiences.holders(work, command.key, command.after, _PAGE)
    if not nodes:
        return
    given = work.find_all(CustomerTags, [tags_id(work.context.tenant, it) for it in nodes])
    owners = audiences.customers(work, nodes)
    found = cases(work, audiences, {it.id: it.ordinal for it in owners.values()})
    moved = [it.customer for it in given.values() if it.repoint(command.key, command.into, work.now)]
    for it in found.values():
        it.tags.settle(Cause.TAG_MERGE, it.standing)
    audiences.note_holders(work, [(command.into, it) for it in moved])
    audiences.retag(work, conclude(work, found.values()), BitMap())
    if len(nodes) < _PAGE:
        return
    payload = {"key": command.key, "into": command.into, "after": str(nodes[-1])}
    work.schedule(Timer(REPOINT_TAGS, f"{command.key}:{nodes[-1]}", work.now, payload))


def _require_unused(work: UnitOfWork, audiences: Audiences, key: str) -> None:
    users = audiences.tag_users(work, key)
    rules = work.find(TagRules, tag_rules_id(work.context.tenant))
    if rules is not None and key in rules.active:
        users.add("its own rule")
    if users:
        raise TagInUse(field="tag_key", tag=key, users=", ".join(sorted(users)[:10]))


def _in_one_spelling(it: TagDefinition) -> TagDefinition:
    values = value_tree(it.values) if it.mode.chosen else ()
    by_hand = it.manual_allowed and it.kind not in (TagKind.RULE, TagKind.FACT)
    return replace(it, name=plain(it.name, "display_name"), values=values, manual_allowed=by_hand)


def _opened(work: UnitOfWork) -> Taxonomy:
    """The tags of the tenant, beginning with the preset tree."""
    found = taxonomy_of(work)
    return Taxonomy.open(work.context.tenant) if found is None else found


def _kept(work: UnitOfWork, taxonomy: Taxonomy, category: UUID) -> CategoryResult:
    work.add(taxonomy)
    return CategoryResult(category, taxonomy)
