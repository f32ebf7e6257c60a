"""Tracked links and forms (TR-7): where links may lead, which hits are of people, and what becomes of answers."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import orjson
import pytest

from chassis.context import Context
from chassis.errors import BadFormat, FieldRequired, FieldTooLong, RequestIdReused, ValueOutOfRange
from chassis.unit_of_work import replay
from scrm.identity.v1.attribute_pb2 import AttributeObservation
from scrm.tracking.v1 import link_pb2
from scrm.tracking.v1 import link_service_pb2 as pb
from scrm.tracking.v1.behaviour_pb2 import Identifier, TrackedEvent
from services.tracking.adapters.form_desk import FormDesk
from services.tracking.adapters.ingest_writer import IngestWriter
from services.tracking.adapters.plan_book import PlanBook
from services.tracking.application.link_commands import CreateTrackedLink, DefineForm, ListLinkHosts
from services.tracking.application.wire_values import timestamp
from services.tracking.domain.errors import (
    CustomerUnresolved,
    FutureTimestamp,
    ShortCodeTaken,
    SubmissionConflict,
    TargetNotAllowed,
)
from services.tracking.domain.form import FieldType, Form, FormField, form_key
from services.tracking.domain.link import LinkDesign, LinkHit, LinkKind, is_prefetch
from services.tracking.read_models.link_stats import FormSubmissions, LinkHits, form_submissions, link_hits
from tests.tracking.audience import Audience
from tests.tracking.definitions import Studio
from tests.tracking.touches import NOON, FakeIdentity, event

HOSTS = ListLinkHosts("acme", frozenset({"shop.example.com"}))
SECOND = timedelta(seconds=1)


def link(target: str = "https://shop.example.com/spring?x=1", short_code: str = "spring") -> CreateTrackedLink:
    return CreateTrackedLink("acme", short_code, LinkDesign(target, LinkKind.EXTERNAL, "spring", "G1"))


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "http://shop.example.com/",
        "https://evil.example.org/",
        "https://shop.example.com.evil.example.org/",
        "https://shop.example.com@evil.example.org/",
        "https://user@shop.example.com/",
        "https://shop.example.com:8443/",
        "https://shop.example.com\\@evil.example.org/",
        "https:/\\evil.example.org",
        "//shop.example.com/",
        "https://shop.example.com/ x",
        "https://shop.example.com:x/",
        "https://[shop.example.com/",
        "https://шоп.example.com/",
        "data:text/html,x",
    ],
)
def test_ac105_a_link_leads_nowhere_else(studio: Studio, target: str) -> None:
    studio.tell(HOSTS)
    with pytest.raises(TargetNotAllowed):
        studio.tell(link(target))
    assert studio.events == ["Opened", "Listed"]


def test_control_a_link_leads_to_pages_of_hosts_that_are_listed(studio: Studio) -> None:
    with pytest.raises(TargetNotAllowed):
        studio.tell(link())
    studio.tell(HOSTS, HOSTS, link(), link("https://SHOP.example.com:443/#a", "other"))
    made = studio.tell(link(short_code=""))
    assert len(made.short_code) == 8
    with pytest.raises(ShortCodeTaken):
        studio.tell(link())
    studio.tell(ListLinkHosts("acme", frozenset()))
    with pytest.raises(TargetNotAllowed):
        studio.tell(link(short_code="late"))
    assert [type(it).__name__ for it in studio.published] == ["TrackedLinkCreated"] * 3


def clicked(message: str, person: str, hit: LinkHit) -> TrackedEvent:
    """As the edge records a hit."""
    said = {"link_id": "spring", "kind": "EXTERNAL", "hit_id": message, "prefetch": is_prefetch(hit)}
    return event(message, "link_clicked", hit.at, person, orjson.dumps(said))


def test_ac26_what_a_mail_scanner_fetches_is_no_click(audience: Audience) -> None:
    """A mail scanner fetches the link, and the person clicks 5 s later."""
    audience.do(
        clicked("1", "ann", LinkHit(NOON)),
        clicked("2", "ann", LinkHit(NOON + 5 * SECOND, NOON + 7 * SECOND)),
    )
    found = audience.ask(lambda rows: link_hits(rows, ["spring", "other"], NOON, NOON + 60 * SECOND))
    assert found == [LinkHits("spring", 1, 1, 1)]


@pytest.mark.parametrize(("seconds", "prefetch"), [(0, False), (30, False), (30.001, True), (-1, True), (None, True)])
def test_a_hit_is_a_click_if_its_page_is_seen_in_time(seconds: float | None, prefetch: bool) -> None:
    beacon = None if seconds is None else NOON + seconds * SECOND
    assert is_prefetch(LinkHit(NOON, beacon)) == prefetch
    assert is_prefetch(LinkHit(NOON, beacon, is_robot=True))


# Forms.

FIELDS = (
    FormField("name", FieldType.TEXT, required=True, maps_to="name"),
    FormField("phone", FieldType.PHONE),
    FormField("born", FieldType.DATE, maps_to="birthdate"),
    FormField("child", FieldType.BOOL, maps_to="family.has_child"),
    FormField("size", FieldType.CHOICE, choices=("S", "L")),
    FormField("people", FieldType.NUMBER, maps_to="family.household_size"),
    FormField("mail", FieldType.EMAIL),
)
DEFINE = DefineForm("acme", "F1", FIELDS)


class FakePeople(FakeIdentity):
    """Identity as far as forms need it: what was declared, once for each request."""

    def __init__(self) -> None:
        super().__init__()
        self.declared: dict[UUID, tuple[UUID, list[AttributeObservation]]] = {}

    async def declare(
        self, node: UUID, values: Sequence[AttributeObservation], context: Context, request: UUID
    ) -> None:
        if self.declared.setdefault(request, (node, list(values))) != (node, list(values)):
            raise RequestIdReused


class Forms:
    """A brand whose form F1 is filled in."""

    def __init__(self, audience: Audience) -> None:
        self.audience = audience
        self.people = FakePeople()
        tracking = audience.tracking
        audience.studio.clock.set(tracking.now)
        self.writer = IngestWriter(tracking.store.engine)
        self.desk = FormDesk(self.writer, self.people, PlanBook(tracking.store), audience.studio.clock)
        audience.studio.tell(DEFINE)

    def submit(self, answers: Mapping[str, str], at: datetime = NOON, person: str = "ann") -> bool:
        request = pb.SubmitFormRequest(
            message_id="m1",
            source_key="h5",
            form_id="F1",
            answers=[link_pb2.FormAnswer(key=key, value=value) for key, value in answers.items()],
            identifiers=[Identifier(namespace="anonymous_id", value=person)] if person else [],
            submit_time=timestamp(at),
        )
        id = form_key("acme", "F1")
        form = replay(self.audience.store.load([id])[id])
        assert isinstance(form, Form)
        return self.audience.loop.run_until_complete(self.desk.submit(form, request, Context("acme", "test")))


@pytest.fixture
def forms(audience: Audience) -> Iterator[Forms]:
    found = Forms(audience)
    found.writer.start()
    yield found
    found.writer.stop()


def test_ac105_a_form_submitted_twice_with_one_message_id_is_one_submission(forms: Forms) -> None:
    answers = {"name": "Ann", "child": "true", "born": "1990-02-28", "people": "3", "size": "L"}
    assert not forms.submit(answers)
    assert forms.submit(answers)
    [(node, values)] = forms.people.declared.values()
    assert node == forms.people.node("ann")
    assert {it.key: it.value.text or it.value.number or it.value.flag for it in values} == {
        "name": "Ann",
        "birthdate": "1990-02-28",
        "family.has_child": True,
        "family.household_size": 3.0,
    }
    forms.audience.settle()
    span = (NOON, NOON + SECOND)
    found = forms.audience.ask(lambda rows: form_submissions(rows, ["F1", "F2"], *span))
    assert found == [FormSubmissions("F1", 1, 1)]
    [(properties,)] = forms.audience.tracking.rows("SELECT properties FROM behaviours")
    fields = ["name", "born", "child", "size", "people"]
    assert orjson.loads(properties) == {"form_id": "F1", "form_version": 1, "fields": fields}
    assert b"Ann" not in forms.audience.tracking.rows("SELECT payload FROM accepted")[0][0]


def test_other_answers_under_the_same_message_id_are_a_conflict(forms: Forms) -> None:
    forms.submit({"name": "Ann"})
    with pytest.raises(SubmissionConflict):
        forms.submit({"name": "Eve"})
    with pytest.raises(SubmissionConflict):
        forms.submit({"name": "Ann", "size": "L"})
    assert forms.audience.tracking.count("accepted") == 1


def test_a_form_of_another_time_is_refused(forms: Forms) -> None:
    with pytest.raises(ValueOutOfRange):
        forms.submit({"name": "Ann"}, NOON - timedelta(days=30))
    with pytest.raises(FutureTimestamp):
        forms.submit({"name": "Ann"}, NOON + timedelta(days=11))
    assert forms.people.declared == {}


def test_a_form_is_defined_as_it_is_asked_last(studio: Studio) -> None:
    studio.tell(DEFINE, DEFINE)
    assert studio.tell(DefineForm("acme", "F1", FIELDS[:2])).form_version == 2
    assert [type(it).__name__ for it in studio.published] == ["FormDefined", "FormDefined"]
    for wrong in (
        (FIELDS[0], FIELDS[0]),
        (FormField("c", FieldType.CHOICE),),
        (FormField("c", FieldType.TEXT, choices=("a",)),),
    ):
        with pytest.raises(BadFormat):
            studio.tell(DefineForm("acme", "F1", wrong))
    with pytest.raises(FieldRequired):
        studio.tell(DefineForm("acme", "F1", ()))


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        ({"name": "Ann", "phone": "12"}, BadFormat),
        ({"name": "Ann", "phone": "(((((((("}, BadFormat),
        ({"name": "Ann", "mail": "ann@"}, BadFormat),
        ({"name": "Ann", "born": "1990-02-30"}, BadFormat),
        ({"name": "Ann", "people": "nan"}, BadFormat),
        ({"name": "Ann", "child": "yes"}, BadFormat),
        ({"name": "Ann", "size": "M"}, BadFormat),
        ({"name": "Ann", "shoe": "9"}, BadFormat),
        ({"name": "n" * 257}, FieldTooLong),
        ({"phone": "13800000001"}, FieldRequired),
        ({"name": "  "}, FieldRequired),
        ({"name": "Ann", "person": ""}, CustomerUnresolved),
        ({"name": "Ann", "person": "null"}, CustomerUnresolved),
    ],
)
def test_ac105_of_an_answer_that_cannot_be_one_nothing_is_kept(
    forms: Forms, answers: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        forms.submit({key: it for key, it in answers.items() if key != "person"}, person=answers.get("person", "ann"))
    assert forms.people.declared == {}
    assert forms.audience.tracking.count("accepted") == 0
    assert forms.audience.tracking.count("quarantine") == 0
