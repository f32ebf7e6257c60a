"""Registering content."""

from dataclasses import dataclass
from typing import Final

from chassis.commands import Handlers, UnitOfWork, handler
from services.tracking.domain.content import Content, ContentDesign, content_key


@dataclass(frozen=True, slots=True)
class RegisterContent:
    """`tenant` is that of the caller."""

    tenant: str
    content_id: str
    design: ContentDesign


def register_content(command: RegisterContent, work: UnitOfWork) -> Content:
    """The content, as it is described now. Raises DuplicateButton."""
    command.design.check()
    id = content_key(work.context.tenant, command.content_id)
    content = work.find(Content, id)
    if content is None:
        content = Content(id, work.context.tenant, command.content_id, command.design)
        work.add(content)
    content.change(command.design)
    return content


HANDLERS: Final[Handlers] = (
    handler(RegisterContent, register_content, loads=lambda it: [content_key(it.tenant, it.content_id)]),
)
