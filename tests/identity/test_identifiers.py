"""Namespaces and normalisation (ID-1): one spelling per identifier, placeholders never, malformed ones by their strength."""

import pytest

from services.identity.domain.errors import BadIdentifier, TooManyIdentifiers, UnknownNamespace
from services.identity.domain.forms import is_blocked
from services.identity.domain.identifiers import DropReason, GivenIdentifier, Identifier, IdentifierReader
from services.identity.domain.namespaces import NAMESPACES
from tests.identity.brand import SECRET

READER = IdentifierReader(SECRET, region="CN", regions={"us-brand": "US"})
UNIONID = "oGx-_4" + "a" * 20


def read(namespace: str, value: str, scope: str = "", tenant: str = "acme") -> Identifier:
    (identifier,) = READER.read(tenant, [GivenIdentifier(namespace, value, scope)]).identifiers
    return identifier


@pytest.mark.parametrize(
    ("namespace", "one", "other"),
    [
        ("member_no", " ab-12 ", "AB-12"),
        ("phone", "13800000001", "+8613800000001"),
        ("phone", "+86 138-0000-0001", "+8613800000001"),
        ("phone", "(010) 8888 8888", "+861088888888"),
        ("phone", "１３８００００００01", "+8613800000001"),
        ("email", " Jane@X.com ", "jane@x.com"),
        ("email", "JÜRGEN@x.com", "ju\u0308rgen@x.com"),
        ("external_id", " 42 ", "42"),
    ],
)
def test_two_spellings_of_one_identifier_are_the_same(namespace: str, one: str, other: str) -> None:
    assert read(namespace, one).key == read(namespace, other).key


@pytest.mark.parametrize(
    ("namespace", "one", "other"),
    [
        ("wechat_unionid", UNIONID, UNIONID.upper()),
        ("email", "jane@x.com", "j.ane@x.com"),
        ("email", "jane@x.com", "jane+shop@x.com"),
        ("oa_openid", "oAbC", "oabc"),
        ("device_id", "d", " d"),
    ],
)
def test_nothing_else_is_corrected(namespace: str, one: str, other: str) -> None:
    assert read(namespace, one).key != read(namespace, other).key


@pytest.mark.parametrize(
    ("namespace", "value"),
    [
        ("member_no", "abc"),
        ("member_no", "a" * 33),
        ("member_no", "AB_12"),
        ("member_no", "straße"),
        ("wechat_unionid", "short"),
        ("wechat_unionid", "a" * 65),
        ("wechat_unionid", "a" * 30 + ":"),
        ("phone", "+86138"),
        ("phone", "+1202555012"),
        ("phone", "+999123456789"),
        ("phone", "1-800-FLOWERS"),
        ("phone", "+12025550123 ext 5"),
        ("email", "jane"),
        ("email", "jane@@x.com"),
        ("email", "ja ne@x.com"),
        ("email", "@x.com"),
        ("email", "a@" + "x" * 300 + ".com"),
        ("external_id", "x" * 129),
        ("oa_openid", "x" * 129),
    ],
)
def test_a_malformed_strong_identifier_is_refused_without_telling_its_value(namespace: str, value: str) -> None:
    with pytest.raises(BadIdentifier) as refusal:
        READER.read("acme", [GivenIdentifier("phone", "+8613800000001"), GivenIdentifier(namespace, value)])

    assert refusal.value.metadata == {"ns": namespace}
    assert refusal.value.field == "identifiers[1].value"
    assert value not in str(refusal.value)


@pytest.mark.parametrize(("namespace", "length"), [("device_id", 128), ("anonymous_id", 64)])
def test_a_malformed_weak_identifier_is_dropped_and_the_rest_used(namespace: str, length: int) -> None:
    long, phone = GivenIdentifier(namespace, "x" * (length + 1)), GivenIdentifier("phone", "+8613800000001")

    reading = READER.read("acme", [long, phone])

    assert [it.namespace for it in reading.identifiers] == ["phone"]
    assert [(it.position, it.reason) for it in reading.dropped] == [(0, DropReason.MALFORMED)]
    assert read(namespace, "x" * length)


@pytest.mark.parametrize(
    "value",
    ["", " ", "0", "000000", "-", "0000-0000", "00000000-0000-0000-0000-000000000000", "-1", "null", "NULL", " Null ",
     "undefined", "anonymous", "none", "None", "test"],
)  # fmt: skip
def test_a_placeholder_is_never_an_identifier(value: str) -> None:
    reading = READER.read("acme", [GivenIdentifier(it, value) for it in NAMESPACES])

    assert not reading.identifiers
    assert {it.reason for it in reading.dropped} == {DropReason.BLOCKED}


@pytest.mark.parametrize("value", ["01", "tester", "nullable", "-2", "a0"])
def test_what_only_resembles_a_placeholder_is_an_identifier(value: str) -> None:
    assert not is_blocked(value)


def test_an_unknown_namespace_is_refused() -> None:
    with pytest.raises(UnknownNamespace):
        READER.read("acme", [GivenIdentifier("shoe_size", "42")])


def test_a_scope_where_the_namespace_has_none_is_refused() -> None:
    with pytest.raises(BadIdentifier):
        READER.read("acme", [GivenIdentifier("phone", "+8613800000001", "app")])


def test_twenty_identifiers_are_read_and_twenty_one_refused() -> None:
    given = [GivenIdentifier("anonymous_id", f"a{number}") for number in range(21)]

    assert len(READER.read("acme", given[:20]).identifiers) == 20
    with pytest.raises(TooManyIdentifiers):
        READER.read("acme", given)


def test_scopes_keep_equal_values_apart() -> None:
    assert read("oa_openid", "o1", "wx-1").key != read("oa_openid", "o1", "wx-2").key


def test_a_repeated_identifier_counts_once_and_verified_if_any_is() -> None:
    given = [GivenIdentifier("phone", "13800000001"), GivenIdentifier("phone", "+8613800000001", verified=True)]

    (identifier,) = READER.read("acme", given).identifiers

    assert identifier.verified


def test_identifiers_come_in_the_order_of_their_priority() -> None:
    given = [GivenIdentifier(it, "member-0123456789abcdef" if it != "phone" else "+8613800000001")
             for it in reversed(list(NAMESPACES)) if it != "email"]  # fmt: skip

    found = [it.namespace for it in READER.read("acme", given).identifiers]

    assert found[:3] == ["member_no", "wechat_unionid", "phone"]
    assert found[-2:] == ["device_id", "anonymous_id"]


def test_the_hash_is_the_tenants_and_the_secrets_own() -> None:
    here = read("phone", "+8613800000001")

    assert read("phone", "+8613800000001", tenant="other").value_hmac != here.value_hmac
    other = IdentifierReader(b"another secret of 32 bytes......").read_one(
        "acme", GivenIdentifier("phone", "+8613800000001")
    )
    assert other is not None
    assert other.value_hmac != here.value_hmac


def test_a_phone_without_country_code_is_of_the_tenants_region() -> None:
    assert read("phone", "(202) 555-0123", tenant="us-brand") == read("phone", "+12025550123", tenant="us-brand")


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        IdentifierReader(b"short")


def test_the_value_does_not_show_in_representations() -> None:
    assert "138" not in repr(GivenIdentifier("phone", "+8613800000001"))
