"""The membership service: put together, and run in the roles that the command line names."""

import sys
from uuid import UUID

from chassis.consumer import Subscription
from chassis.due_times import Timer
from chassis.service import Service
from chassis.settings import ChassisSettings
from scrm.membership.v1.membership_service_pb2_grpc import add_MembershipServiceServicer_to_server
from services.membership.adapters.grpc_servicer import MembershipServicer
from services.membership.application.customers import POINTS_DUE
from services.membership.application.handlers import HANDLERS
from services.membership.application.points_commands import SettleAccount
from services.membership.application.policies import CONCERNS, react
from services.membership.application.published_events import PRIVATE, partition_key, publish
from services.membership.read_models.members import MembersProjection
from services.membership.read_models.points import PointsProjection
from services.membership.settings import SERVICE, from_environment


def service(settings: ChassisSettings) -> Service:
    """Membership, ready to run any of its roles."""
    return Service(
        name=SERVICE,
        settings=settings,
        handlers=HANDLERS,
        servicers=lambda kit: [
            (add_MembershipServiceServicer_to_server, MembershipServicer(kit.bus, kit.read_models, kit.clock))
        ],
        publish=publish,
        partition_key=partition_key,
        private=PRIVATE,
        projections=[MembersProjection(), PointsProjection()],
        subscriptions=lambda kit: [Subscription(SERVICE, ["identity", "tracking"], react, events=CONCERNS)],
        timers={POINTS_DUE: settle_account},
    )


def settle_account(timer: Timer) -> SettleAccount:
    """What to do when the timer of an account goes off."""
    return SettleAccount(UUID(timer.key))


def main() -> None:
    service(from_environment()).run(sys.argv[1:])
