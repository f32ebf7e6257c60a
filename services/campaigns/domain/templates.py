"""Message texts with variables: `Hi {{name|friend}}` takes the name, or else "friend"."""

import re
from collections.abc import Mapping

from services.campaigns.domain.errors import TemplateMalformed

_VARIABLE = re.compile(r"\{\{\s*([a-z][a-z0-9_]*)\s*(?:\|([^{}]*))?\}\}")


class VariableMissing(Exception):
    """A variable has neither a value nor a fallback, so that the text cannot be sent."""

    def __init__(self, variable: str) -> None:
        super().__init__(variable)
        self.variable = variable


def render(text: str, values: Mapping[str, str]) -> str:
    """The text with every variable replaced; raises VariableMissing instead of sending a blank."""

    def value(found: re.Match[str]) -> str:
        variable, fallback = found.group(1), found.group(2)
        given = values.get(variable) or fallback
        if not given:
            raise VariableMissing(variable)
        return given

    return _VARIABLE.sub(value, text)


def check(text: str, *, field: str) -> None:
    """Refuse a text in which braces are left that do not form a variable."""
    rest = _VARIABLE.sub("", text)
    if "{{" in rest or "}}" in rest:
        raise TemplateMalformed(field=field)
