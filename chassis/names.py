"""The words of the contracts: resource names (AIP-122)."""

from uuid import UUID


def resource_name(collection: str, id: UUID | str) -> str:
    """`("customers", id)` → `customers/<id>`."""
    return f"{collection}/{id}"
