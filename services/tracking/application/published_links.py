"""What other services are told of links and forms."""

from typing import Final

from google.protobuf.message import Message

from chassis.log import Recorded
from scrm.tracking.v1 import events_pb2 as pb
from scrm.tracking.v1 import link_pb2
from services.tracking.domain.form import Form, FormField
from services.tracking.domain.link import LinkDesign, LinkHosts, TrackedLink

PRIVATE: Final = frozenset[type]({LinkHosts.Opened, LinkHosts.Listed, Form.Opened})


def of_links(recorded: Recorded) -> Message | None:
    """The message for an event of a link or a form."""
    match recorded.event:
        case TrackedLink.Created(short_code=code, design=design):
            return pb.TrackedLinkCreated(link=link_message(code, design))
        case Form.Defined(form_id=form_id, form_version=version, fields=fields):
            return pb.FormDefined(form=form_message(form_id, version, fields))
    return None


def link_message(short_code: str, design: LinkDesign) -> link_pb2.TrackedLink:
    return link_pb2.TrackedLink(
        short_code=short_code,
        target=design.target,
        kind=link_pb2.LinkKind.Value(f"LINK_KIND_{design.kind}"),
        campaign=design.campaign,
        staff_code=design.staff,
    )


def form_message(form_id: str, version: int, fields: tuple[FormField, ...]) -> link_pb2.Form:
    return link_pb2.Form(
        form_id=form_id,
        version=version,
        fields=[
            link_pb2.FormField(
                key=it.key,
                type=link_pb2.FormFieldType.Value(f"FORM_FIELD_TYPE_{it.type}"),
                required=it.required,
                maps_to=it.maps_to,
                choices=it.choices,
            )
            for it in fields
        ],
    )
