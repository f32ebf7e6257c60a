"""What the leaves of a condition are written with: comparisons, windows, durations, lists."""

from collections.abc import Callable
from datetime import date
from enum import StrEnum
from typing import Final, TypeVar

from services.tagging.domain.conditions.text_tokens import Sort, Token, refusal, tokens
from services.tagging.domain.conditions.text_words import SYMBOLS, UNITS
from services.tagging.domain.conditions.values import ALL_TIME, Comparison, Operator, Period, Value, Window
from services.tagging.domain.errors import ConditionSyntax

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

_SIGNS: Final = {sign: operator for operator, sign in SYMBOLS.items()}


class Reader:
    """Reads a text from its first token to its last; what must be there and is not is refused with ConditionSyntax."""

    def __init__(self, text: str) -> None:
        self._tokens = tokens(text)
        self._place = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._place]

    def back(self) -> None:
        self._place -= 1

    def refusal(self, expected: str, at: int | None = None) -> ConditionSyntax:
        """That something else was expected, next or at this character."""
        return refusal(self.token.at if at is None else at, expected)

    def at(self, word: str) -> bool:
        """Whether this word or sign is next."""
        sort, text, _ = self.token
        return (sort is Sort.SIGN and text == word) or (sort is Sort.WORD and text.lower() == word)

    def next_is(self, sort: Sort) -> bool:
        """Whether the token after the next is one of these."""
        return self.token.sort is not Sort.END and self._tokens[self._place + 1].sort is sort

    def took(self, word: str) -> bool:
        """Go on if this word or sign is next."""
        found = self.at(word)
        self._place += found
        return found

    def need(self, word: str) -> None:
        if not self.took(word):
            raise self.refusal(f'"{word}"')

    def word(self, expected: str) -> str:
        return self._take(Sort.WORD, expected).text

    def text(self) -> str:
        return self._take(Sort.TEXT, "a text in quotes").text

    def key(self) -> str:
        """The name of a property, in quotes if it has other characters than names have."""
        return self.text() if self.token.sort is Sort.TEXT else self.word("the name of a property")

    def only_text(self) -> str:
        self.need("(")
        found = self.text()
        self.need(")")
        return found

    def date(self) -> date:
        token = self._take(Sort.DATE, "a date such as 2025-01-31")
        try:
            return date.fromisoformat(token.text)
        except ValueError:
            raise self.refusal("a day of the calendar", token.at) from None

    def count(self, expected: str) -> int:
        token = self._take(Sort.NUMBER, expected)
        if not token.text.isdecimal() or len(token.text) > 9:
            raise self.refusal(expected, token.at)
        return int(token.text)

    def range(self) -> tuple[int, int]:
        first = self.count("a number")
        self.need("..")
        return first, self.count("a number")

    def one_of(self, words: type[E]) -> E:
        named = {it.lower(): it for it in words}
        token = self._take(Sort.WORD, f"one of {', '.join(named)}")
        found = named.get(token.text.lower())
        if found is None:
            raise self.refusal(f"one of {', '.join(named)}", token.at)
        return found

    def listed(self, item: Callable[[], T]) -> list[T]:
        """Items with commas between them, in brackets."""
        self.need("(")
        found = [item()]
        while self.took(","):
            found.append(item())
        self.need(")")
        return found

    def comparison(self) -> Comparison:
        if self.token.sort is Sort.SIGN and self.token.text in _SIGNS:
            operator = _SIGNS[self.token.text]
            self._place += 1
            return Comparison(operator, (self.value(),))
        if self.took("in"):
            return Comparison(Operator.IN, tuple(self.listed(self.value)))
        if self.took("contains"):
            return Comparison(Operator.CONTAINS, (self.value(),))
        if self.took("exists"):
            return Comparison(Operator.EXISTS)
        if self.took("not"):
            self.need("exists")
            return Comparison(Operator.NOT_EXISTS)
        if self.took("starts"):
            self.need("with")
            return Comparison(Operator.STARTS_WITH, (self.value(),))
        if not self.took("between"):
            raise self.refusal("a comparison")
        low = self.value()
        self.need("and")
        return Comparison(Operator.BETWEEN, (low, self.value()))

    def value(self) -> Value:
        sort, text, _ = self.token
        if sort is Sort.NUMBER:
            self._place += 1
            return Value.of(float(text))
        if sort in (Sort.TEXT, Sort.DATE):
            self._place += 1
            return Value.of(text)
        for word, truth in (("true", True), ("false", False)):
            if self.took(word):
                return Value.of(truth)
        raise self.refusal("a text in quotes, a number, a date, true or false")

    def window(self) -> Window:
        """What follows "in"; without it, all time."""
        if not self.took("in"):
            return ALL_TIME
        if self.took("this"):
            self.need("month")
            return Window(Period.THIS_MONTH)
        if self.token.sort is Sort.DATE:
            first = self.date()
            self.need("..")
            return Window(Period.BETWEEN, 0, first, self.date())
        self.need("last")
        n = self.count("a number of days or hours")
        unit = self.unit("day", "hour")
        return Window(Period.LAST_N_DAYS if unit == "day" else Period.LAST_N_HOURS, n)

    def duration(self) -> int:
        """Seconds."""
        n = self.count("a number of days, hours, minutes or seconds")
        return n * UNITS[self.unit(*UNITS)]

    def unit(self, *units: str) -> str:
        for unit in units:
            if self.took(unit) or self.took(f"{unit}s"):
                return unit
        raise self.refusal(" or ".join(f'"{it}s"' for it in units))

    def _take(self, sort: Sort, expected: str) -> Token:
        token = self.token
        if token.sort is not sort:
            raise self.refusal(expected)
        self._place += 1
        return token
