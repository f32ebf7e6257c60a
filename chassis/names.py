"""The words of the contracts: resource names (AIP-122) and the cases names are written in."""

import re
from uuid import UUID

from chassis.errors import BadFormat

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def snake(name: str) -> str:
    """`CustomersMerged` → `customers_merged`."""
    return _HUMP.sub("_", name).lower()


def resource_name(collection: str, id: UUID | str) -> str:
    """`("customers", id)` → `customers/<id>`."""
    return f"{collection}/{id}"


def parse_id(collection: str, name: str, *, field: str) -> UUID:
    """The id in a resource name of `collection`, also when it is given bare.

    Raises BadFormat naming `field` when it is neither.
    """
    try:
        return UUID(name.removeprefix(f"{collection}/"))
    except ValueError:
        raise BadFormat(f"{field} must be {collection}/<uuid> or <uuid>", field=field) from None
