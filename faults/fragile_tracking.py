"""The negative control of `fuzz`: tracking with a door that believes what it reads. `python -m faults.fragile_tracking serve edge`."""

import sys
from typing import Any

import orjson

from services.tracking.adapters import segment_door
from services.tracking.service import service
from services.tracking.settings import Settings


def believing(content: bytes) -> Any:
    """The value in `content`, which is taken to be JSON."""
    return orjson.loads(content)


if __name__ == "__main__":
    segment_door.read_json = believing  # type: ignore[attr-defined]  # in place of the patient one
    service(Settings.from_environment()).run(sys.argv[1:])
