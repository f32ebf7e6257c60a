"""What a tag is (spec TG-1): its key, its place in the tree of categories, and which values it may have."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final
from unicodedata import category, normalize
from uuid import UUID

from chassis.errors import BadFormat
from services.tagging.domain.errors import DepthExceeded, ValueNotAllowed

LEVEL: Final = " > "
"""Between the levels of a value: "Skincare > Serum"."""
DEEPEST_VALUE: Final = 3
MOST_VALUES: Final = 1000


class ValueMode(StrEnum):
    """Which values a tag has; UNDECLARED: whatever it is given, as long as nobody defined the tag."""

    UNDECLARED = "UNDECLARED"
    FLAG = "FLAG"
    SINGLE_CHOICE = "SINGLE_CHOICE"
    MULTI_CHOICE = "MULTI_CHOICE"
    NUMBER = "NUMBER"
    DATE = "DATE"

    @property
    def chosen(self) -> bool:
        """Whether the values are of a list."""
        return self in (ValueMode.SINGLE_CHOICE, ValueMode.MULTI_CHOICE)

    @property
    def measured(self) -> bool:
        """Whether there are as many values as one likes, so that no set of customers is kept for each of them."""
        return self in (ValueMode.NUMBER, ValueMode.DATE)


class TagKind(StrEnum):
    """Where the assignments of a tag come from."""

    FACT = "FACT"
    RULE = "RULE"
    MANUAL = "MANUAL"
    MODEL = "MODEL"
    IMPORT = "IMPORT"


class TagStatus(StrEnum):
    """Whether a tag may be assigned; MERGED: another one has its assignments."""

    ACTIVE = "ACTIVE"
    ARCHIVED = "ARCHIVED"
    MERGED = "MERGED"


@dataclass(frozen=True, slots=True)
class TagDefinition:
    """A tag as it is defined.

    `values` are the values of the choice modes with their ancestors; `ttl_days` 0: an assignment does not expire; tags
    of one `group` exclude each other.
    """

    key: str
    name: str
    category: UUID
    mode: ValueMode
    kind: TagKind
    values: tuple[str, ...] = ()
    ttl_days: int = 0
    group: str = ""
    manual_allowed: bool = True
    status: TagStatus = TagStatus.ACTIVE
    merged_into: str = ""

    def value(self, given: str) -> str:
        """`given` in the one spelling of the tag's mode. Raises ValueNotAllowed."""
        match self.mode:
            case ValueMode.UNDECLARED:
                return given
            case ValueMode.FLAG:
                accepted = given == ""
            case ValueMode.NUMBER:
                return _number(given)
            case ValueMode.DATE:
                return _date(given)
            case _:
                accepted = given in self.values
        if not accepted:
            raise ValueNotAllowed("the tag has no such value", field="value", tag=self.key)
        return given

    def slot(self, value: str) -> str:
        """The place of an assignment: those in one place compete, and one of them holds."""
        if self.group:
            return f"@{self.group}"
        return f"{self.key}={value}" if self.mode is ValueMode.MULTI_CHOICE else ""


def undeclared(key: str) -> TagDefinition:
    """A tag that nobody defined: one value of any kind, given by anybody."""
    return TagDefinition(key, key, UUID(int=0), ValueMode.UNDECLARED, TagKind.MANUAL)


def lineage(value: str) -> Iterator[str]:
    """A value and what it implies: "Skincare > Serum" is "Skincare" too."""
    levels = value.split(LEVEL)
    for count in range(1, len(levels) + 1):
        yield LEVEL.join(levels[:count])


def value_tree(given: Iterable[str]) -> tuple[str, ...]:
    """The values given, with their ancestors, each once and in order. Raises BadFormat, DepthExceeded."""
    found: dict[str, None] = {}
    for it in given:
        levels = [plain(level, "values") for level in it.split(LEVEL.strip())]
        if len(levels) > DEEPEST_VALUE:
            raise DepthExceeded("a value has too many levels", field="values", limit=DEEPEST_VALUE)
        found.update(dict.fromkeys(lineage(LEVEL.join(levels))))
    if len(found) > MOST_VALUES:
        raise BadFormat(f"more than {MOST_VALUES} values", field="values")
    return tuple(found)


def plain(name: str, field: str) -> str:
    """A name in one spelling (NFC, single spaces). Raises BadFormat for an empty one and for control characters."""
    text = " ".join(normalize("NFC", name).split(" ")).strip()
    if not text or any(category(it).startswith("C") for it in text):
        raise BadFormat("a name has characters, and no control characters", field=field)
    return text


def _number(given: str) -> str:
    try:
        number = Decimal(given)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or len(given) > 40:
        raise ValueNotAllowed("not a number", field="value")
    return format(number.normalize() + 0, "f")


def _date(given: str) -> str:
    try:
        return date.fromisoformat(given).isoformat()
    except ValueError:
        raise ValueNotAllowed("not a date (YYYY-MM-DD)", field="value") from None
