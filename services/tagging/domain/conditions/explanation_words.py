"""An explanation as people read it, in English or Chinese: one line for each leaf, indented by what it is a part of."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from services.tagging.domain.conditions.explanation import Cited, Explanation
from services.tagging.domain.conditions.tree import Kind
from services.tagging.domain.conditions.values import Plain

MOST_CITED: Final = 5
"""So many facts of a leaf are told one by one, the latest of them."""


class Language(StrEnum):
    """In which language."""

    EN = "EN"
    ZH = "ZH"


_WORDS: Final[Mapping[Language, Mapping[str, str]]] = {
    Language.EN: {
        Kind.ALL: "all of these",
        Kind.ANY: "any of these",
        Kind.NOT: "not this",
        "value": ": {}",
        "nothing": ": nothing is known",
        "facts": " ({})",
        "more": "… and {} before",
        "short": "; {} more would be needed",
        "over": "; it is {} too much",
        "change": "; time alone changes this on {}",
        "known_now": " [as it is known today]",
        "true": "true",
        "false": "false",
        "between": ", ",
    },
    Language.ZH: {
        Kind.ALL: "以下全部满足",
        Kind.ANY: "以下任一满足",
        Kind.NOT: "不满足以下条件",
        "value": "：{}",
        "nothing": "：没有记录",
        "facts": "（{}）",
        "more": "…此前还有 {} 条",
        "short": "；还差 {}",
        "over": "；超出 {}",
        "change": "；若无新事实，将于 {} 改变",
        "known_now": "〔按今日所知〕",
        "true": "是",
        "false": "否",
        "between": "，",
    },
}


def in_words(it: Explanation, language: Language, zone: ZoneInfo, indent: int = 0) -> Iterator[str]:
    """The lines of an explanation: ✓ before what holds and ✗ before what does not; times by the clock of `zone`."""
    words, mark = _WORDS[language], "✓" if it.holds else "✗"
    head = f"{'  ' * indent}{mark} "
    if it.parts:
        yield f"{head}{words[it.kind]}"
        for part in it.parts:
            yield from in_words(part, language, zone, indent + 1)
        return
    yield head + it.text + "".join(_of_leaf(it, words, zone))


def _of_leaf(it: Explanation, words: Mapping[str, str], zone: ZoneInfo) -> Iterator[str]:
    if it.value is not None:
        yield words["value"].format(plain(it.value, words))
    elif not it.facts and not it.cited:
        yield words["nothing"]
    if it.cited:
        yield words["facts"].format(words["between"].join(_cited(it, words, zone)))
    if it.short_by is not None and it.short_by > 0:
        yield words["short"].format(f"{it.short_by:g}")
    elif it.short_by is not None and it.short_by < 0:
        yield words["over"].format(f"{-it.short_by:g}")
    if it.changes_at is not None:
        yield words["change"].format(moment(it.changes_at, zone))
    if it.known_now:
        yield words["known_now"]


def _cited(it: Explanation, words: Mapping[str, str], zone: ZoneInfo) -> Sequence[str]:
    shown = [_fact(one, zone) for one in it.cited[-MOST_CITED:]]
    left = max(it.facts, len(it.cited)) - len(shown)
    return [words["more"].format(left), *shown] if left > 0 else shown


def _fact(it: Cited, zone: ZoneInfo) -> str:
    return f"{moment(it.at, zone)} {it.what}{f' {it.detail}' if it.detail else ''}"


def plain(value: Plain, words: Mapping[str, str]) -> str:
    match value:
        case bool():
            return words["true" if value else "false"]
        case str():
            return value
    return f"{value:.10g}"


def moment(at: datetime, zone: ZoneInfo) -> str:
    """An instant by the clock on the wall, to the minute."""
    return f"{at.astimezone(zone):%Y-%m-%d %H:%M}"
