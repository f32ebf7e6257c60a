"""Which customers are compared, and how far their traits are found to agree."""

from itertools import product
from random import Random
from uuid import uuid4

import numpy as np
import pytest
from rapidfuzz.distance import JaroWinkler

from services.identity.domain.blocking import BlockKeys, KeyKind
from services.identity.domain.comparing import Population
from services.identity.domain.match_model import DEFAULT, MISSING
from services.identity.domain.traits import Known, Traits, digits_of_date, last_digits, sound, spelled
from tests.identity.brand import SECRET


def levels(one: Known, other: Known) -> list[str]:
    """The names of the levels of the pair, "" for what is missing."""
    found = Population([one.traits(), other.traits()]).compare(np.array([0]), np.array([1]))[0]
    return [
        "" if index == MISSING else comparison.levels[index].name
        for comparison, index in zip(DEFAULT.comparisons, found, strict=True)
    ]


def known(**traits: object) -> Known:
    return Known(uuid4(), **traits)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("李伟", "李伟", "EXACT"),
        ("李伟", "李 伟", "SIMILAR"),
        ("李伟", "李维", "SIMILAR"),
        ("李伟", "Li Wei", "SIMILAR"),
        ("Wei LI", "li wei", "EXACT"),
        ("José Núñez", "Jose Nunez", "SIMILAR"),
        ("Ｊａｎｅ", "jane", "EXACT"),
        ("Isabella Fitzpatrick", "Isabella Fitzptarick", "SIMILAR"),
        ("李伟", "王芳", "DIFFERENT"),
        ("李伟", None, ""),
        ("李伟", "…", ""),
    ],
)
def test_names_are_compared_as_written_and_as_they_sound(one: str, other: str | None, level: str) -> None:
    assert levels(known(name=one), known(name=other))[0] == level


@pytest.mark.parametrize(
    ("other", "level"),
    [
        ("1990-05-12", "EXACT"),
        ("1990-05-13", "SLIP"),
        ("1991-05-12", "SLIP"),
        ("1990-12-05", "SLIP"),
        ("1909-05-12", "SLIP"),
        ("1990-06-13", "DIFFERENT"),
        ("1991-05-21", "DIFFERENT"),
        ("--05-12", ""),
        ("1990-02-30", ""),
        (None, ""),
    ],
)
def test_a_birthdate_may_be_one_slip_away(other: str | None, level: str) -> None:
    assert levels(known(birthdate="1990-05-12"), known(birthdate=other))[1] == level


def test_an_address_agrees_as_a_whole_or_in_its_district() -> None:
    home = known(address="88 Nanjing Road, Flat 3", district="Huangpu")

    assert levels(home, known(address="88 nanjing road flat 3"))[2] == "EXACT"
    assert levels(home, known(address="1 Bund", district="Huangpu"))[2] == "DISTRICT"
    assert levels(home, known(address="1 Bund"))[2] == "DIFFERENT"
    assert levels(home, known(district="Pudong"))[2] == "DIFFERENT"
    assert levels(home, known(name="Jane"))[2] == ""


def test_devices_and_genders_agree_or_not() -> None:
    one = known(devices=frozenset({b"a", b"b"}), gender="FEMALE")

    assert levels(one, known(devices=frozenset({b"b"}), gender="female"))[3:] == ["SHARED", "EXACT"]
    assert levels(one, known(devices=frozenset({b"c"}), gender="MALE"))[3:] == ["DIFFERENT", "DIFFERENT"]
    assert levels(one, known())[3:] == ["", ""]


def test_many_pairs_at_once_agree_with_a_plain_comparison_of_each() -> None:
    random = Random(7)
    names = ["li wei", "lI Wei", "wei li", "li we", "wang fang", ""]
    dates = ["1990-05-12", "1990-05-21", "1990-12-05", "1990-05-13", "1989-05-12", "1970-01-01", ""]
    people = [
        known(
            name=random.choice(names),
            birthdate=random.choice(dates),
            gender=random.choice(["F", "M", ""]),
            address=random.choice(["1 Bund", "2 Bund", ""]),
            district=random.choice(["Huangpu", "Pudong", ""]),
            devices=frozenset(random.sample([b"a", b"b", b"c"], random.randint(0, 2))),
        ).traits()
        for _ in range(60)
    ]
    pairs = list(product(range(60), repeat=2))

    found = Population(people).compare(np.array([a for a, _ in pairs]), np.array([b for _, b in pairs]))

    assert found.tolist() == [_plainly(people[a], people[b]) for a, b in pairs]


def test_customers_of_one_block_have_a_key_in_common() -> None:
    def kinds(one: Known, other: Known) -> set[KeyKind]:
        keys = BlockKeys(SECRET)
        return {it.kind for it in keys.of("acme", one.traits()) & keys.of("acme", other.traits())}

    born = "1990-05-12"
    assert kinds(known(name="李伟", birthdate=born), known(name="Wei Li", birthdate=born)) == {KeyKind.NAME_BIRTHDATE}
    assert kinds(known(name="Jane Roe", birthdate=born), known(name="Jaen Roe", birthdate=born)) == {
        KeyKind.NAME_BIRTHDATE
    }
    assert kinds(known(name="Jane Roe", birthdate=born), known(name="Jane Roe")) == set()
    assert kinds(known(address="1 Bund, 5"), known(address="1 bund 5")) == {KeyKind.ADDRESS}
    assert kinds(known(devices=frozenset({b"a"})), known(devices=frozenset({b"a", b"b"}))) == {KeyKind.DEVICE}
    phones = ("+8613812345678",), ("12345678",)
    assert kinds(*(known(name="李伟", phones=it) for it in phones)) == {KeyKind.PHONE_NAME}
    assert kinds(*(known(phones=it) for it in phones)) == set()


def test_keys_tell_nothing_outside_of_their_tenant() -> None:
    keys = BlockKeys(SECRET)
    traits = known(name="Jane Roe", birthdate="1990-05-12", address="1 Bund").traits()

    one, other = keys.of("acme", traits), keys.of("globex", traits)

    assert not {it.digest for it in one} & {it.digest for it in other}
    assert all(len(it.digest) == 16 for it in one)
    assert one != BlockKeys(SECRET[::-1]).of("acme", traits)


def test_spellings() -> None:
    assert spelled("  O'Brien–Smith_Jr ") == "o brien smith jr"
    assert sound("吕布 Zoë") == "bu lv zoe"
    assert digits_of_date("1990-05-12") == "19900512"
    assert last_digits("021-6123 4567") == "1234567"
    assert last_digits("12345") == ""


def _plainly(one: Traits, other: Traits) -> list[int]:
    return [
        _level(one.name, other.name, lambda: JaroWinkler.similarity(one.sound, other.sound) >= 0.9),
        _level(one.birthdate, other.birthdate, lambda: _slip(one.birthdate, other.birthdate)),
        _address(one, other),
        MISSING if not one.devices or not other.devices else int(not one.devices & other.devices),
        MISSING if not one.gender or not other.gender else int(one.gender != other.gender),
    ]


def _level(one: str, other: str, near: object) -> int:
    if not one or not other:
        return MISSING
    return 0 if one == other else 1 if near() else 2  # type: ignore[operator]


def _slip(one: str, other: str) -> bool:
    swapped = [one[:at] + one[at + 1] + one[at] + one[at + 2 :] for at in range(7)]
    one_digit = sum(a != b for a, b in zip(one, other, strict=True)) == 1
    return one_digit or other in swapped or other == one[:4] + one[6:] + one[4:6]


def _address(one: Traits, other: Traits) -> int:
    address = MISSING if not one.address or not other.address else int(one.address != other.address)
    district = MISSING if not one.district or not other.district else int(one.district != other.district)
    if address == 0:
        return 0
    if district == 0:
        return 1
    return MISSING if address == district == MISSING else 2
