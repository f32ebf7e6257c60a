"""Why a customer is in a segment or has a tag, or is not, in words (spec TG-4): for staff who have to answer for it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from zoneinfo import ZoneInfo

from services.tagging.domain.conditions.explanation import Explanation
from services.tagging.domain.conditions.explanation_words import Language, in_words, moment


class Role(StrEnum):
    """What a condition is for: it says who is in a segment, or who comes to have a tag, or who ceases to."""

    DEFINITION = "DEFINITION"
    ENTER = "ENTER"
    EXIT = "EXIT"


@dataclass(frozen=True, slots=True)
class Ground:
    """One condition as it was then: the version of its definition, the value it gives ("" for none), and what it came to."""

    role: Role
    version: int
    text: str
    explanation: Explanation
    value: str = ""
    next_change: datetime | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What was told of a membership by then: since when it is as it is, why, and by whom, as far as anything was told."""

    since: datetime | None = None
    cause: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Membership:
    """Whether a customer was in `subject` at `at`, and on what grounds.

    `differs`: by all that is known today the conditions say otherwise of that instant. `outside`: the customer is not among those the
    segment may hold. `kind` is SEGMENT, LIST, ARCHIVED or TAG.
    """

    kind: str
    subject: str
    at: datetime
    member: bool
    told: Told = Told()
    grounds: Sequence[Ground] = ()
    next_change: datetime | None = None
    differs: bool = False
    outside: bool = False


def sentences(it: Membership, language: Language, zone: ZoneInfo) -> str:
    """The whole in words, a line for each thing."""
    return "\n".join(_lines(it, _WORDS[language], language, zone))


def _lines(it: Membership, words: Mapping[str, str], language: Language, zone: ZoneInfo) -> Iterator[str]:
    yield _verdict(it, words, zone)
    if it.outside:
        yield words["outside"]
    for ground in it.grounds:
        value = words["value"].format(ground.value) if ground.value else ""
        yield words[ground.role].format(version=ground.version, value=value, text=ground.text)
        yield from in_words(ground.explanation, language, zone, 1)
        if decisive := list(dict.fromkeys(one.text for one in ground.explanation.decisive())):
            yield words["decisive"].format(words["or"].join(decisive))
    if it.differs:
        yield words["differs"]
    if it.next_change is not None:
        yield words["next"].format(moment(it.next_change, zone))
    elif it.grounds:
        yield words["never"]


def _verdict(it: Membership, words: Mapping[str, str], zone: ZoneInfo) -> str:
    word = words[("is_" if it.member else "is_not_") + ("tag" if it.kind == "TAG" else "segment")]
    parts = [word.format(at=moment(it.at, zone), subject=it.subject)]
    if it.told.since is not None:
        parts.append(words["since"].format(moment(it.told.since, zone)))
    if it.told.cause:
        parts.append(words["because"].format(words.get(f"cause_{it.told.cause}", it.told.cause)))
    if it.told.source:
        parts.append(words["source"].format(it.told.source))
    if it.kind in ("LIST", "ARCHIVED"):
        parts.append(words[it.kind])
    return "".join(parts) + words["stop"]


_WORDS: Final[Mapping[Language, Mapping[str, str]]] = {
    Language.EN: {
        "is_segment": "On {at} the customer was in segment “{subject}”",
        "is_not_segment": "On {at} the customer was not in segment “{subject}”",
        "is_tag": "On {at} the customer had the tag “{subject}”",
        "is_not_tag": "On {at} the customer did not have the tag “{subject}”",
        "since": ", since {}",
        "because": ", because {}",
        "source": " ({})",
        "LIST": "; its members are listed by hand",
        "ARCHIVED": "; the segment was archived, and nobody is in it",
        "stop": ".",
        "outside": "The segment holds known customers only, and this one was not known.",
        "value": " “{}”",
        Role.DEFINITION: "By version {version} of its definition, {text}:",
        Role.ENTER: "By version {version} of its rule the tag{value} comes when {text}:",
        Role.EXIT: "By version {version} of its rule it goes when {text}, and it would not come again:",
        "decisive": "  What decides: {}.",
        "or": " | ",
        "differs": "By all that is known today the conditions say otherwise of that instant: what came to be known later, a word of "
        "staff, the time a tag is held at least, a customer that was merged, or that it is looked at by the hour or day only makes "
        "the difference.",
        "next": "If nothing else happens, this may next change on {}.",
        "never": "Time alone does not change this: something new has to happen.",
        "cause_EVENT": "something happened",
        "cause_TIME": "time passed",
        "cause_EDIT": "its definition or list was changed",
        "cause_MERGE": "customers were merged, or that was taken back",
        "cause_BACKFILL": "everybody was looked at",
        "cause_ERASURE": "the customer was erased",
        "cause_MANUAL": "it was done by hand",
        "cause_IMPORT": "it was imported",
        "cause_FLOW": "a flow said so",
        "cause_MODEL": "a model said so",
        "cause_EXPIRED": "it expired",
        "cause_SUPERSEDED": "another value took its place",
        "cause_CONSENT": "the customer does not agree to it",
        "cause_TAG_MERGE": "tags were merged",
    },
    Language.ZH: {
        "is_segment": "{at}，该客户在分群“{subject}”中",
        "is_not_segment": "{at}，该客户不在分群“{subject}”中",
        "is_tag": "{at}，该客户有标签“{subject}”",
        "is_not_tag": "{at}，该客户没有标签“{subject}”",
        "since": "，自 {} 起",
        "because": "，原因：{}",
        "source": "（{}）",
        "LIST": "；成员由人工维护",
        "ARCHIVED": "；该分群已归档，没有成员",
        "stop": "。",
        "outside": "该分群只包含已识别客户，而该客户当时尚未识别。",
        "value": "“{}”",
        Role.DEFINITION: "按定义第 {version} 版，{text}：",
        Role.ENTER: "按规则第 {version} 版，满足 {text} 时打上标签{value}：",
        Role.EXIT: "按规则第 {version} 版，满足 {text} 且不再满足进入条件时去掉标签：",
        "decisive": "  决定性条件：{}。",
        "or": " | ",
        "differs": "按今日所知，这些条件对当时的判断不同：原因可能是后来才得知的事实、员工的判断、标签的最短保留时间、客户合并，"
        "或仅按小时或按天重新计算。",
        "next": "若无新事实，下一次可能改变的时间：{}。",
        "never": "时间本身不会改变这一结果：需要有新的事实。",
        "cause_EVENT": "发生了新的事实",
        "cause_TIME": "时间推移",
        "cause_EDIT": "定义或名单被修改",
        "cause_MERGE": "客户合并或撤销合并",
        "cause_BACKFILL": "对全部客户重新计算",
        "cause_ERASURE": "客户资料已删除",
        "cause_MANUAL": "人工操作",
        "cause_IMPORT": "导入",
        "cause_FLOW": "流程操作",
        "cause_MODEL": "模型判断",
        "cause_EXPIRED": "已到期",
        "cause_SUPERSEDED": "被其他取值取代",
        "cause_CONSENT": "客户未同意",
        "cause_TAG_MERGE": "标签合并",
    },
}
