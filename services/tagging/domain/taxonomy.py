"""The tags a tenant works with (spec TG-1): a tree of categories, and the tags in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from services.tagging.domain.errors import (
    CategoryCycle,
    CategoryInUse,
    CategoryNotFound,
    DepthExceeded,
    NameTaken,
    SensitivityFixed,
    TagExists,
    TagNotActive,
    TagNotFound,
    TagsNotAlike,
    TaxonomyFull,
)
from services.tagging.domain.tag_definitions import LEVEL, TagDefinition, TagStatus, undeclared

DEEPEST: Final = 4
MOST_CATEGORIES: Final = 1000
MOST_TAGS: Final = 1000

PRESET: Final[Mapping[str, tuple[str, ...]]] = {
    "Physiological": ("Gender", "Age band", "Occupation", "Region", "Family"),
    "Interests": ("Content topics", "Hobbies"),
    "Brand tier": ("Usage frequency", "Member tier", "Spend power"),
    "Lifestyle": ("Shopping habit", "Reading habit", "Active hours"),
    "Behaviour": (),
    "Content": (),
    "Value": (),
    "Consumption preference": (),
    "Lifecycle stage": (),
    "Decision": (),
    "Product usage": ("Purpose", "Method", "Scenario", "Experience"),
    "Service": ("After-sales", "Complaints"),
    "Channel and path": (),
    "Health": (),
    "Custom": (),
}
"""The tree every tenant begins with."""
SENSITIVE: Final = frozenset({"Health"})
"""Those of the tree that only customers who agreed to sensitive inference may have tags of."""


@dataclass(frozen=True, slots=True)
class Category:
    """One node of the tree; what is below a sensitive one is sensitive too."""

    id: UUID
    name: str
    parent: UUID | None
    sensitive: bool = False


def taxonomy_id(tenant: str) -> UUID:
    return natural_id(tenant, "taxonomy")


def preset_id(tenant: str, *names: str) -> UUID:
    """The id of a category of the preset tree."""
    return natural_id(tenant, "tag_category", *names)


def _preset(tenant: str) -> Iterator[Category]:
    for name, below in PRESET.items():
        parent = preset_id(tenant, name)
        yield Category(parent, name, None, name in SENSITIVE)
        for it in below:
            yield Category(preset_id(tenant, name, it), it, parent)


class Taxonomy(Aggregate):
    """Categories and tags of one tenant, from the first change of the preset tree on."""

    TOPIC = "tagging.Taxonomy"

    class Opened(InitialEvent):
        TOPIC = "tagging.TaxonomyOpened"
        tenant: str
        categories: tuple[Category, ...]

    class CategoryCreated(Event):
        TOPIC = "tagging.TagCategoryCreated"
        category: Category

    class CategoryMoved(Event):
        TOPIC = "tagging.TagCategoryMoved"
        category: UUID
        parent: UUID | None

    class CategoryRenamed(Event):
        TOPIC = "tagging.TagCategoryRenamed"
        category: UUID
        name: str

    class CategoryArchived(Event):
        TOPIC = "tagging.TagCategoryArchived"
        category: UUID

    class TagDefined(Event):
        TOPIC = "tagging.TagDefined"
        definition: TagDefinition

    class TagUpdated(Event):
        TOPIC = "tagging.TagUpdated"
        definition: TagDefinition

    class TagArchived(Event):
        TOPIC = "tagging.TagArchived"
        key: str

    class TagsMerged(Event):
        """All assignments of one tag are to become those of another."""

        TOPIC = "tagging.TagsMerged"
        key: str
        into: str

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, categories: tuple[Category, ...]) -> None:
        self.tenant = tenant
        self.categories = {it.id: it for it in categories}
        self.tags: dict[str, TagDefinition] = {}

    @classmethod
    def open(cls, tenant: str) -> "Taxonomy":
        return cls(taxonomy_id(tenant), tenant, tuple(_preset(tenant)))

    def path(self, category: UUID) -> str:
        """The names from the root down."""
        return LEVEL.join(self.categories[it].name for it in reversed(self._upwards(category)))

    def level(self, category: UUID) -> int:
        """1 for a root."""
        return len(self._upwards(category))

    def sensitive(self, category: UUID) -> bool:
        """Whether a category, or one above it, is sensitive."""
        return any(self.categories[it].sensitive for it in self._upwards(category) if it in self.categories)

    def below(self, category: UUID) -> set[UUID]:
        """A category and all that are below it."""
        return {it for it in self.categories if category in self._upwards(it)}

    def definition(self, key: str) -> TagDefinition:
        """What a tag is; of one that nobody defined, too."""
        return self.tags.get(key) or undeclared(key)

    def bars(self, key: str) -> bool:
        """Whether a tag is only for customers who agreed to sensitive inference."""
        return key in self.tags and self.sensitive(self.tags[key].category)

    def create_category(self, category: Category) -> None:
        """Raises CategoryNotFound, DepthExceeded, NameTaken, TaxonomyFull."""
        if len(self.categories) >= MOST_CATEGORIES:
            raise TaxonomyFull(limit=MOST_CATEGORIES)
        self._fits(category.name, category.parent, None, 1)
        self._category_created(category=category)

    def move_category(self, id: UUID, parent: UUID | None) -> bool:
        """Put a category with all that is below it elsewhere; whether that changed anything.

        Raises CategoryNotFound, CategoryCycle, DepthExceeded, NameTaken, SensitivityFixed.
        """
        it, below = self.category(id), self.below(id)
        if parent == it.parent:
            return False
        if parent in below:
            raise CategoryCycle(field="parent_id")
        self._fits(it.name, parent, id, max(self.level(one) for one in below) - self.level(id) + 1)
        over = parent is not None and self.sensitive(parent)
        if over != (it.parent is not None and self.sensitive(it.parent)) and not it.sensitive and self._tags_in(below):
            raise SensitivityFixed(field="parent_id")
        self._category_moved(category=id, parent=parent)
        return True

    def rename_category(self, id: UUID, name: str) -> bool:
        """Whether that changed anything. Raises CategoryNotFound, NameTaken."""
        it = self.category(id)
        if name == it.name:
            return False
        self._fits(name, it.parent, id, 1)
        self._category_renamed(category=id, name=name)
        return True

    def archive_category(self, id: UUID) -> None:
        """Raises CategoryNotFound; CategoryInUse while it has categories below it, or tags."""
        self.category(id)
        if len(self.below(id)) > 1 or self._tags_in({id}):
            raise CategoryInUse(field="category_id")
        self._category_archived(category=id)

    def category(self, id: UUID, field: str = "category_id") -> Category:
        """Raises CategoryNotFound."""
        if id not in self.categories:
            raise CategoryNotFound(field=field)
        return self.categories[id]

    def define_tag(self, definition: TagDefinition) -> None:
        """Raises TagExists, CategoryNotFound, TaxonomyFull."""
        if definition.key in self.tags:
            raise TagExists(field="tag_key")
        if sum(it.status is TagStatus.ACTIVE for it in self.tags.values()) >= MOST_TAGS:
            raise TaxonomyFull(limit=MOST_TAGS)
        self.category(definition.category)
        self._tag_defined(definition=definition)

    def update_tag(self, definition: TagDefinition) -> bool:
        """Change all of a tag but its mode, kind and group. Raises TagNotFound, TagNotActive, CategoryNotFound, SensitivityFixed."""
        before = self.active(definition.key)
        self.category(definition.category)
        if self.sensitive(before.category) != self.sensitive(definition.category):
            raise SensitivityFixed(field="category_id")
        after = replace(definition, mode=before.mode, kind=before.kind, group=before.group)
        if after == before:
            return False
        self._tag_updated(definition=after)
        return True

    def archive_tag(self, key: str) -> None:
        """Raises TagNotFound, TagNotActive."""
        self.active(key)
        self._tag_archived(key=key)

    def merge_tags(self, key: str, into: str) -> None:
        """Raises TagNotFound, TagNotActive, TagsNotAlike."""
        first, second = self.active(key), self.active(into)
        alike = (first.mode, first.kind, first.group, self.bars(key)) == (
            second.mode,
            second.kind,
            second.group,
            self.bars(into),
        )
        if key == into or not alike or not set(first.values) <= set(second.values):
            raise TagsNotAlike(field="into")
        self._tags_merged(key=key, into=into)

    def active(self, key: str) -> TagDefinition:
        """A tag that was defined and may be assigned. Raises TagNotFound, TagNotActive."""
        if key not in self.tags:
            raise TagNotFound(field="tag_key", tag=key)
        found = self.tags[key]
        if found.status is not TagStatus.ACTIVE:
            raise TagNotActive(field="tag_key", tag=key, merged_into=found.merged_into)
        return found

    def _upwards(self, category: UUID) -> list[UUID]:
        """A category and those above it, up to the root."""
        found: list[UUID] = []
        step: UUID | None = category
        while step is not None and step in self.categories:
            found.append(step)
            step = self.categories[step].parent
        return found

    def _tags_in(self, categories: set[UUID]) -> bool:
        return any(it.category in categories and it.status is TagStatus.ACTIVE for it in self.tags.values())

    def _fits(self, name: str, parent: UUID | None, id: UUID | None, height: int) -> None:
        """Whether something of `height` levels may be called `name` below `parent`."""
        if parent is not None:
            self.category(parent, "parent_id")
            if self.level(parent) + height > DEEPEST:
                raise DepthExceeded("the tree has too many levels", field="parent_id", limit=DEEPEST)
        taken = {it.name.casefold() for it in self.categories.values() if it.parent == parent and it.id != id}
        if name.casefold() in taken:
            raise NameTaken("a category has this name already", field="display_name")

    @event(CategoryCreated)
    def _category_created(self, category: Category) -> None:
        self.categories[category.id] = category

    @event(CategoryMoved)
    def _category_moved(self, category: UUID, parent: UUID | None) -> None:
        self.categories[category] = replace(self.categories[category], parent=parent)

    @event(CategoryRenamed)
    def _category_renamed(self, category: UUID, name: str) -> None:
        self.categories[category] = replace(self.categories[category], name=name)

    @event(CategoryArchived)
    def _category_archived(self, category: UUID) -> None:
        del self.categories[category]

    @event(TagDefined)
    def _tag_defined(self, definition: TagDefinition) -> None:
        self.tags[definition.key] = definition

    @event(TagUpdated)
    def _tag_updated(self, definition: TagDefinition) -> None:
        self.tags[definition.key] = definition

    @event(TagArchived)
    def _tag_archived(self, key: str) -> None:
        self.tags[key] = replace(self.tags[key], status=TagStatus.ARCHIVED)

    @event(TagsMerged)
    def _tags_merged(self, key: str, into: str) -> None:
        self.tags[key] = replace(self.tags[key], status=TagStatus.MERGED, merged_into=into)
