"""Forms (TR-7): what people are asked, and whether what they answer can be."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from math import isfinite
from typing import Final
from uuid import UUID

from chassis.aggregate import Aggregate, Event, InitialEvent, event, natural_id
from chassis.errors import BadFormat, FieldRequired, FieldTooLong

LONGEST_ANSWER: Final = 256

_PHONE: Final = re.compile(r"\+?[0-9][0-9 ()-]{4,22}[0-9]")
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[^@\s.]+(\.[^@\s.]+)+")
_LEAST_DIGITS: Final = 6


class FieldType(StrEnum):
    """What an answer looks like; BOOL is `true` or `false`, DATE is YYYY-MM-DD."""

    TEXT = "TEXT"
    PHONE = "PHONE"
    EMAIL = "EMAIL"
    DATE = "DATE"
    NUMBER = "NUMBER"
    BOOL = "BOOL"
    CHOICE = "CHOICE"


@dataclass(frozen=True, slots=True)
class FormField:
    """One question; `maps_to` is the attribute that the answer is a value of ("": of none)."""

    key: str
    type: FieldType
    required: bool = False
    maps_to: str = ""
    choices: tuple[str, ...] = ()

    def check(self, answer: str) -> None:
        """Raise BadFormat, FieldTooLong."""
        if len(answer) > LONGEST_ANSWER:
            raise FieldTooLong(field=f"values.{self.key}")
        good = answer in self.choices if self.type is FieldType.CHOICE else _CHECKS[FieldType(self.type)](answer)
        if not good:
            raise BadFormat(f"no {self.type.lower()}", field=f"values.{self.key}")


class Form(Aggregate):
    """One form; its fields change from version to version."""

    TOPIC = "tracking.Form"

    class Opened(InitialEvent):
        TOPIC = "tracking.FormOpened"
        tenant: str
        form_id: str

    class Defined(Event):
        """It has these fields from now on."""

        TOPIC = "tracking.FormDefined"
        form_id: str
        form_version: int
        fields: tuple[FormField, ...]

    @event(Opened)
    def __init__(self, id: UUID, tenant: str, form_id: str) -> None:
        self.tenant = tenant
        self.form_id = form_id
        self.form_version = 0
        self.fields: tuple[FormField, ...] = ()

    def define(self, fields: tuple[FormField, ...]) -> None:
        """Raises BadFormat, FieldRequired."""
        check_fields(fields)
        if fields != self.fields:
            self._defined(self.form_id, self.form_version + 1, fields)

    def answered(self, values: Mapping[str, str]) -> dict[FormField, str]:
        """The answers by field, without empty ones. Raises FieldRequired, BadFormat, FieldTooLong."""
        unknown = values.keys() - {it.key for it in self.fields}
        if unknown:
            raise BadFormat("the form does not ask for it", field=f"values.{min(unknown)}")
        found: dict[FormField, str] = {}
        for it in self.fields:
            answer = values.get(it.key, "").strip()
            if answer:
                it.check(answer)
                found[it] = answer
            elif it.required:
                raise FieldRequired(field=f"values.{it.key}")
        return found

    @event(Defined)
    def _defined(self, form_id: str, form_version: int, fields: tuple[FormField, ...]) -> None:
        self.form_version = form_version
        self.fields = fields


def check_fields(fields: tuple[FormField, ...]) -> None:
    """Raise BadFormat, FieldRequired."""
    if not fields:
        raise FieldRequired(field="fields")
    if len({it.key for it in fields}) < len(fields):
        raise BadFormat("a field is given twice", field="fields")
    for it in fields:
        if (it.type is FieldType.CHOICE) != bool(it.choices):
            raise BadFormat("a choice has choices, and nothing else has", field=f"fields.{it.key}")


def form_key(tenant: str, form_id: str) -> UUID:
    """The id of the one form with this id of its own."""
    return natural_id(tenant, "form", form_id)


def _is_phone(answer: str) -> bool:
    return _PHONE.fullmatch(answer) is not None and sum(map(str.isdigit, answer)) >= _LEAST_DIGITS


def _is_date(answer: str) -> bool:
    try:
        return date.fromisoformat(answer).isoformat() == answer
    except ValueError:
        return False


def _is_number(answer: str) -> bool:
    try:
        return isfinite(float(answer))
    except ValueError:
        return False


_CHECKS: Final[Mapping[FieldType, Callable[[str], bool]]] = {
    FieldType.TEXT: lambda answer: True,
    FieldType.PHONE: _is_phone,
    FieldType.EMAIL: lambda answer: _EMAIL.fullmatch(answer) is not None,
    FieldType.DATE: _is_date,
    FieldType.NUMBER: _is_number,
    FieldType.BOOL: lambda answer: answer in ("true", "false"),
}
