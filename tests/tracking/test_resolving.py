"""Which events may be asked about together: asking once must never give another node than asking each time."""

from hypothesis import given
from hypothesis import strategies as st

from services.tracking.application.resolving import Identity, questions


def identity(*values: str, authenticated: bool = False) -> Identity:
    return tuple(("anonymous_id", "", it, False) for it in values), authenticated


class Owners:
    """A toy identity in which every call in company moves all its identifiers to whoever has the last of them."""

    def __init__(self) -> None:
        self._owner: dict[str, int] = {}
        self._next = 0

    def node(self, asked: Identity) -> int:
        values = [value for _, _, value, _ in asked[0]]
        if values[-1] not in self._owner:
            self._next += 1
            self._owner[values[-1]] = self._next
        node = self._owner[values[-1]]
        for value in values:
            self._owner[value] = node
        return node


def test_a_run_of_events_of_one_person_is_asked_about_once() -> None:
    asked = questions([identity("a"), identity("b"), identity("a"), identity("a")])
    assert [(it.identity, it.events) for it in asked] == [(identity("a"), [0, 2, 3]), (identity("b"), [1])]


def test_a_run_ends_where_the_identifier_turns_up_in_other_company() -> None:
    asked = questions([identity("a"), identity("b"), identity("a", "b"), identity("a"), identity("b")])
    assert [it.events for it in asked] == [[0], [1], [2], [3], [4]]


def test_being_logged_in_makes_another_question() -> None:
    asked = questions([identity("a"), identity("a", authenticated=True), identity("a")])
    assert [it.events for it in asked] == [[0], [1], [2]]


@given(
    st.lists(
        st.builds(lambda values, known: identity(*values, authenticated=known),
                  st.lists(st.sampled_from("abcd"), min_size=1, max_size=3, unique=True), st.booleans()),
        max_size=30,
    )
)  # fmt: skip
def test_asking_once_per_run_gives_what_asking_each_time_gives(identities: list[Identity]) -> None:
    each = Owners()
    expected = [each.node(it) for it in identities]
    once = Owners()
    found: dict[int, int] = {}
    for question in questions(identities):
        node = once.node(question.identity)
        found |= dict.fromkeys(question.events, node)
    assert [found[place] for place in range(len(identities))] == expected
