"""How the people of the main job identify themselves."""

import re
from collections import Counter

import phonenumbers

from demo.people import Person, bindings


def test_everybody_has_a_valid_phone_number_that_is_reserved_for_fiction(everybody: list[Person]) -> None:
    numbers = {it.phone for it in everybody}
    assert len(numbers) == len(everybody)
    assert all(re.fullmatch(r"\+1\d{3}55501\d\d", it) for it in numbers)
    assert all(phonenumbers.is_valid_number(phonenumbers.parse(it)) for it in sorted(numbers)[::97])


def test_union_ids_have_the_form_that_identity_asks_for(everybody: list[Person]) -> None:
    ids = {it.union_id for it in everybody}
    assert len(ids) == len(everybody)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{20,64}", it) for it in ids)


def test_people_log_in_on_the_morning_of_their_first_order(everybody: list[Person]) -> None:
    logins = [it for person in everybody for it in bindings(person)]
    devices = [it.value for login in logins for it in login.sightings if it.namespace == "device_id"]
    assert Counter(len(list(bindings(it))) for it in everybody) == {1: 23_570 - 4_733, 2: 4_733}
    assert (len(devices), len(set(devices))) == (101, 29)
    assert sum(count > 3 for count in Counter(devices).values()) == 13
