"""The share graph (TR-11): who shared what, through which share it had come to them, and who came back through it."""

from datetime import datetime
from uuid import UUID

from chassis.aggregate import Aggregate, InitialEvent, event, natural_id
from services.tracking.domain.errors import ShareExists


class Share(Aggregate):
    """One share by one customer; its parent is older, so shares form trees."""

    TOPIC = "tracking.Share"

    class Created(InitialEvent):
        """`depth` is 1 for a share without parent, which is its own `root`."""

        TOPIC = "tracking.ShareCreated"
        tenant: str
        share_id: str
        node: UUID
        content_id: str
        activity_id: str
        parent: str
        root: str
        depth: int
        shared_at: datetime

    @event(Created)
    def __init__(
        self,
        id: UUID,
        tenant: str,
        share_id: str,
        node: UUID,
        content_id: str,
        activity_id: str,
        parent: str,
        root: str,
        depth: int,
        shared_at: datetime,
    ) -> None:
        self.tenant = tenant
        self.share_id = share_id
        self.node = node
        self.content_id = content_id
        self.activity_id = activity_id
        self.parent = parent
        self.root = root
        self.depth = depth
        self.shared_at = shared_at

    def require_same(self, node: UUID, content_id: str, activity_id: str, parent: str) -> None:
        """Raises ShareExists unless it was created with these."""
        if (self.node, self.content_id, self.activity_id, self.parent) != (node, content_id, activity_id, parent):
            raise ShareExists(field="share_id")


class ShareVisit(Aggregate):
    """That somebody else came through a share, at one of their nodes."""

    TOPIC = "tracking.ShareVisit"

    class Visited(InitialEvent):
        """`unique` unless the same customer had come through the share before, at another node."""

        TOPIC = "tracking.ShareVisited"
        tenant: str
        share_id: str
        node: UUID
        unique: bool
        visited_at: datetime

    @event(Visited)
    def __init__(self, id: UUID, tenant: str, share_id: str, node: UUID, unique: bool, visited_at: datetime) -> None:
        self.tenant = tenant


def share_key(tenant: str, share_id: str) -> UUID:
    return natural_id(tenant, "share", share_id)


def visit_key(tenant: str, share_id: str, node: UUID) -> UUID:
    return natural_id(tenant, "share_visit", share_id, node)
