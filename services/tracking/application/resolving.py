"""Which events may be asked about together: those of the same identifiers, as long as nothing between them could matter."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

MOST_QUESTIONS: Final = 500
"""How many questions identity takes at once."""

GivenIdentifier: TypeAlias = tuple[str, str, str, bool]
"""Namespace, scope, value, whether it is verified."""

Identity: TypeAlias = tuple[tuple[GivenIdentifier, ...], bool]
"""The identifiers of an event, and whether the person was logged in."""


@dataclass(slots=True)
class Question:
    """Who `identity` is; `events` are the places of the events it is asked for, the first of them first."""

    identity: Identity
    events: list[int] = field(default_factory=list)


def questions(identities: Sequence[Identity]) -> list[Question]:
    """One question for each run of events with the same identity.

    A run ends when one of its identifiers turns up in another company: that event may move it to somebody else, so later
    events with the old company have to be asked about again. With that, asking once gives every event the node it
    would have been given if each had been asked about by itself.
    """
    asked: list[Question] = []
    last: dict[tuple[str, str, str], Question] = {}
    for place, identity in enumerate(identities):
        names = [it[:3] for it in identity[0]]
        question = last.get(names[0])
        if question is None or question.identity != identity or any(last.get(it) is not question for it in names):
            question = Question(identity)
            asked.append(question)
            for name in names:
                last[name] = question
        question.events.append(place)
    return asked
