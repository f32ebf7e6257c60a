"""Which fields an update changes (AIP-134, AIP-161)."""

from collections.abc import Collection

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from chassis.errors import BadFormat


def changed_fields(mask: FieldMask, resource: Message, updatable: Collection[str]) -> frozenset[str]:
    """The names out of `updatable` that an update with `mask` sets from `resource`.

    No mask means the fields that are populated, `*` all of them. A path that is not one of `updatable` (or below one,
    as in `title.en`) raises BadFormat: nothing that was asked for is dropped silently.
    """
    if not mask.paths:
        return frozenset(field.name for field, _ in resource.ListFields() if field.name in updatable)
    if list(mask.paths) == ["*"]:
        return frozenset(updatable)
    names = {path.partition(".")[0] for path in mask.paths}
    for name in sorted(names):
        if name not in updatable:
            raise BadFormat("update_mask names a field that cannot be updated", field="update_mask")
    return frozenset(names)
