"""What a condition must be to be kept (spec TG-4): every leaf whole, of known words, and each comparison of the right type."""

from collections.abc import Iterable
from math import isfinite
from typing import Final, NamedTuple

from chassis.errors import UnknownEnum
from services.tagging.domain.calendar import DAYPARTS
from services.tagging.domain.conditions.comparing import kind
from services.tagging.domain.conditions.dimensions import ValueType
from services.tagging.domain.conditions.facts import OF_THE_BEHAVIOUR
from services.tagging.domain.conditions.leaves import (
    LINE_KEYS,
    OF_A_PROPERTY,
    Absence,
    AttributeTest,
    EventTest,
    Figure,
    Happening,
    HasTag,
    InLayer,
    Leaf,
    OrderFigure,
    OrderTest,
    PropertyTest,
    RelatedTo,
    RfmScores,
    Streak,
    Succession,
)
from services.tagging.domain.conditions.limits import MOST_VALUES, happenings, windows
from services.tagging.domain.conditions.values import Comparison, Operator, Period, Window
from services.tagging.domain.conditions.vocabulary import Vocabulary
from services.tagging.domain.errors import (
    ArchivedTag,
    MalformedCondition,
    UnknownDimension,
    WrongOperator,
    WrongValueType,
)

CATEGORIES: Final = frozenset("PINCBSV")
LONGEST_TIME: Final = 730 * 86_400
LONGEST_STREAK: Final = 730
_OF_ORDERS: Final = {
    **dict.fromkeys((*LINE_KEYS, "currency"), ValueType.TEXT),
    **dict.fromkeys(("net", "coupons", "quantity", "discount", "weekday"), ValueType.NUMBER),
}
_COUNT: Final = {Operator.EXISTS: 0, Operator.NOT_EXISTS: 0, Operator.BETWEEN: 2}
_ORDERING: Final = frozenset({Operator.LT, Operator.LE, Operator.GT, Operator.GE, Operator.BETWEEN})


class Place(NamedTuple):
    """A leaf with its path and the words it may use; all methods raise what `check_leaf_words` says."""

    path: str
    words: Vocabulary

    def refuse_if(self, wrong: bool, what: str) -> None:
        if wrong:
            raise MalformedCondition(what, field=self.path)

    def comparison(self, it: Comparison) -> None:
        """Whole, whatever it compares."""
        count, operator = len(it.values), it.operator
        few = count != _COUNT.get(operator, 1) if operator is not Operator.IN else not 1 <= count <= MOST_VALUES
        self.refuse_if(few, f"{operator} does not have {count} values")
        given = [sum(part is not None for part in (one.text, one.number, one.truth)) for one in it.values]
        self.refuse_if(any(one != 1 for one in given), "a value is a text, a number or a truth")
        self.refuse_if(
            any(one.number is not None and not isfinite(one.number) for one in it.values), "a number has an end"
        )

    def of_type(self, it: Comparison, of: ValueType, choices: Iterable[str] = ()) -> None:
        """Whole, and right for values of type `of`."""
        self.comparison(it)
        if it.operator not in of.operators:
            raise WrongOperator(field=self.path, operator=it.operator, type=of)
        wanted = {ValueType.NUMBER: "number", ValueType.TRUTH: "truth"}.get(of, "text")
        if any(kind(one) != wanted for one in it.plain):
            raise WrongValueType(field=self.path, type=of)
        allowed = frozenset(choices)
        if allowed and not allowed.issuperset(it.plain):
            raise UnknownEnum("it has no such value", field=self.path)

    def untyped(self, it: Comparison) -> None:
        """Whole, and right for some type: properties are not declared here."""
        self.comparison(it)
        kinds = {kind(one) for one in it.plain}
        if it.operator in _ORDERING and "truth" in kinds:
            raise WrongOperator("truths have no order", field=self.path, operator=it.operator)
        if it.operator is Operator.BETWEEN and len(kinds) > 1:
            raise WrongValueType("the bounds are of two types", field=self.path)
        if it.operator is Operator.STARTS_WITH and kinds != {"text"}:
            raise WrongValueType("only a text starts with a text", field=self.path)

    def happening(self, it: Happening) -> None:
        self.refuse_if(bool(it.category) and it.category not in CATEGORIES, "there is no such category")
        if it.hours:
            self.refuse_if(len(it.hours) != 2, "hours are from one to another")
            self.refuse_if(not (0 <= it.hours[0] <= 23 and 0 <= it.hours[-1] <= 24), "an hour is from 0 to 24")
        self.refuse_if(not {*it.weekdays} <= {*range(1, 8)}, "a weekday is from 1 to 7")
        for test in it.where:
            self.property(test)

    def property(self, it: PropertyTest) -> None:
        self.refuse_if(not 0 < len(it.key) <= 128, "a property has a name")
        if it.key.startswith("$"):
            self.own_field(it.key)
            self.of_type(it.comparison, ValueType.TEXT)
        else:
            self.untyped(it.comparison)

    def own_field(self, key: str) -> None:
        if key not in OF_THE_BEHAVIOUR:
            raise UnknownDimension("a behaviour has no such field", field=self.path, key=key)

    def window(self, it: Window) -> None:
        of_number = it.period in (Period.LAST_N_DAYS, Period.LAST_N_HOURS)
        self.refuse_if(of_number and it.n < 1, "a window is at least one day or hour long")
        if it.period is Period.BETWEEN:
            self.refuse_if(it.first is None or it.last is None, "a window between has two days")
            self.refuse_if((it.days or 0) < 1, "a window begins before it ends")

    def seconds(self, seconds: int, least: int) -> None:
        self.refuse_if(not least <= seconds <= LONGEST_TIME, "a time is at most 730 days")


def check_words(leaves: Iterable[tuple[str, Leaf]], words: Vocabulary) -> None:
    """Raises what `check_leaf_words` does, for the first leaf that is not right; leaves come with their paths."""
    for path, leaf in leaves:
        check_leaf_words(leaf, Place(path, words))


def check_leaf_words(leaf: Leaf, at: Place) -> None:
    """Raises UnknownDimension, WrongValueType, WrongOperator, UnknownEnum, ArchivedTag, MalformedCondition; `field` is the path."""
    for window in windows(leaf):
        at.window(window)
    for happening in happenings(leaf):
        at.happening(happening)
    match leaf:
        case AttributeTest():
            _attribute(leaf, at)
        case RelatedTo(_, comparison):
            at.of_type(comparison, ValueType.TEXT)
        case HasTag() | InLayer() | RfmScores():
            _kept(leaf, at)
        case EventTest():
            _event(leaf, at)
        case OrderTest():
            _order(leaf, at)
        case Absence() | Succession() | Streak():
            _course(leaf, at)


def _kept(leaf: HasTag | InLayer | RfmScores, at: Place) -> None:
    match leaf:
        case HasTag(tag, value):
            _tag(tag, value, at)
        case InLayer():
            at.refuse_if(bool(leaf.run and leaf.as_of), "a layer is of a run or as of a day")
        case RfmScores():
            bounds = (leaf.recency, leaf.frequency, leaf.monetary)
            wrong = any(len(it) != 2 or not 0 <= it[0] <= it[1] <= 5 or it[1] < 1 for it in bounds)
            at.refuse_if(wrong, "scores are from 0 to 5")


def _course(leaf: Absence | Succession | Streak, at: Place) -> None:
    match leaf:
        case Absence(within=within):
            at.seconds(within, 1)
        case Succession(steps, within, gap):
            at.refuse_if(len(steps) < 2, "a sequence has two steps or more")
            at.seconds(within, 0)
            at.seconds(gap, 0)
        case Streak(_, length):
            at.refuse_if(not 1 <= length <= LONGEST_STREAK, f"a streak is of 1 to {LONGEST_STREAK}")


def _attribute(leaf: AttributeTest, at: Place) -> None:
    found = at.words.dimension(leaf.key)
    if found is None:
        raise UnknownDimension(field=at.path, key=leaf.key)
    at.of_type(leaf.comparison, found.type, found.choices)


def _tag(tag: str, value: str | None, at: Place) -> None:
    word = at.words.tags.get(tag)
    if word is None:
        return
    if word.archived:
        raise ArchivedTag(field=at.path, tag=tag)
    if value is not None and word.values is not None and value not in word.values:
        raise UnknownEnum("the tag has no such value", field=at.path, tag=tag)


def _event(leaf: EventTest, at: Place) -> None:
    of_property = leaf.figure in OF_A_PROPERTY
    at.refuse_if(of_property != bool(leaf.property), f"{leaf.figure} is {'' if of_property else 'not '}of a property")
    of_weeks = leaf.figure is Figure.WEEKS
    at.refuse_if(
        not 1 <= leaf.days <= 7 if of_weeks else leaf.days != 0, "a week has 1 to 7 days, and only WEEKS have it"
    )
    if leaf.property.startswith("$"):
        at.own_field(leaf.property)
    if leaf.figure in (Figure.LAST, Figure.FIRST, Figure.USUAL):
        at.untyped(leaf.comparison)
    else:
        at.of_type(leaf.comparison, ValueType.NUMBER)


def _order(leaf: OrderTest, at: Place) -> None:
    for test in leaf.where:
        if test.key not in _OF_ORDERS:
            raise UnknownDimension("an order has no such property", field=at.path, key=test.key)
        at.of_type(test.comparison, _OF_ORDERS[test.key])
    if leaf.figure is OrderFigure.DAYPART:
        at.of_type(leaf.comparison, ValueType.CHOICE, DAYPARTS)
    else:
        at.of_type(leaf.comparison, ValueType.NUMBER)
