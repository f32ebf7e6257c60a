"""The door of our script for pages: what a brand puts into its pages so that they tell what visitors do on them."""

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

_COMMENT: Final = re.compile(r"/\*.*?\*/")
_BESIDE: Final = {"cache-control": "public, max-age=3600", "x-content-type-options": "nosniff"}


class ScriptDoor:
    """Serves the script: as it is written, but for comments and indentation."""

    def __init__(self) -> None:
        written = files("services.tracking").joinpath("pages/scrm.js").read_text(encoding="utf-8")
        self._script = shortened(written).encode()

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return [Route("/scrm.js", self._serve)]

    async def _serve(self, _: Request) -> Response:
        return Response(self._script, media_type="text/javascript", headers=_BESIDE)


def shortened(script: str) -> str:
    """The script without what only those need who read it; comments stand in one line each, and in no text."""
    lines = (_COMMENT.sub("", it).strip() for it in script.splitlines())
    return "\n".join(filter(None, lines)) + "\n"
