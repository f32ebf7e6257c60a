"""Calls and events of the Social CRM, for other programs of the company.

`Connection` makes the calls (scrm_client/connection.py), `Events` reads what is published (scrm_client/events.py). The generated
contracts are beside this package: `scrm.identity.v1.identity_service_pb2_grpc.IdentityServiceStub`, and so on for each service.
"""

from scrm_client.connection import Connection, min_position
from scrm_client.events import Event, Events, NotGranted, SubscriptionTaken, UnknownEvent
from scrm_client.handled import Handled
from scrm_client.masking import masked
from scrm_client.refusals import Refused, Violation
from scrm_client.streams import whole

__all__ = [
    "Connection",
    "Event",
    "Events",
    "Handled",
    "NotGranted",
    "Refused",
    "SubscriptionTaken",
    "UnknownEvent",
    "Violation",
    "masked",
    "min_position",
    "whole",
]
