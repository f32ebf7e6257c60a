"""Leaves on behaviours, read from text: figures, absences, successions and streaks."""

from services.tagging.domain.conditions.leaves import (
    OF_A_PROPERTY,
    Absence,
    EventTest,
    Figure,
    Happening,
    Leaf,
    PropertyTest,
    Streak,
    StreakUnit,
    Succession,
)
from services.tagging.domain.conditions.text_pieces import Reader
from services.tagging.domain.conditions.text_tokens import Sort


def read_behaviours(reader: Reader) -> Leaf:
    """What follows the word "event"."""
    what = _happening(reader)
    if reader.took("without"):
        reader.need("event")
        other = _happening(reader)
        reader.need("within")
        within = reader.duration()
        return Absence(what, other, within, reader.window())
    if reader.at("then"):
        return _succession(what, reader)
    if reader.took("streak"):
        length = reader.count("a number of days or weeks")
        unit = StreakUnit(reader.unit("day", "week").upper())
        return Streak(what, length, unit, reader.window())
    figure, key, days = reader.one_of(Figure), "", 0
    if figure in OF_A_PROPERTY:
        reader.need("(")
        key = reader.key()
        reader.need(")")
    elif figure is Figure.WEEKS:
        reader.need("(")
        days = reader.count("a number of days")
        reader.need(")")
    comparison = reader.comparison()
    return EventTest(what, figure, comparison, reader.window(), key, days)


def where(reader: Reader) -> tuple[PropertyTest, ...]:
    """Tests of properties, from the word "where" on."""
    reader.need("where")
    tests = [PropertyTest(reader.key(), reader.comparison())]
    while reader.took("and"):
        tests.append(PropertyTest(reader.key(), reader.comparison()))
    return tuple(tests)


def _succession(first: Happening, reader: Reader) -> Leaf:
    steps, within, gap = [first], 0, 0
    while reader.took("then"):
        reader.need("event")
        steps.append(_happening(reader))
    if reader.took("within"):
        within = reader.duration()
    if reader.took("gap"):
        gap = reader.duration()
    return Succession(tuple(steps), within, gap, reader.window())


def _happening(reader: Reader) -> Happening:
    reader.need("(")
    kind = category = ""
    hours: tuple[int, ...] = ()
    weekdays: tuple[int, ...] = ()
    tests: tuple[PropertyTest, ...] = ()
    if not reader.took("any"):
        while True:
            if reader.token.sort is Sort.TEXT:
                kind = reader.text()
            elif reader.took("category"):
                category = reader.text()
            elif reader.took("hours"):
                hours = reader.range()
            elif reader.took("weekdays"):
                weekdays = _weekdays(reader)
            else:
                tests = where(reader)
            if not reader.took(","):
                break
    reader.need(")")
    return Happening(kind, category, tests, hours, weekdays)


def _weekdays(reader: Reader) -> tuple[int, ...]:
    """ISO numbers with commas between them; a comma before anything else is left."""
    found = [reader.count("the number of a weekday")]
    while reader.at(",") and reader.next_is(Sort.NUMBER):
        reader.need(",")
        found.append(reader.count("the number of a weekday"))
    return tuple(found)
