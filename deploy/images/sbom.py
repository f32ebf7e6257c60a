"""What is in an image, by name and version: a bill of materials (CycloneDX 1.5, JSON) of the Python that runs this and of Debian.

Run while an image is built; imports nothing but the standard library.
"""

import json
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

Component = dict[str, str]
_DPKG: Final = Path("/var/lib/dpkg/status")


def document() -> dict[str, object]:
    """The packages of this environment, Python itself, and what Debian's package manager knows."""
    found = [_component("python", platform.python_version(), "generic"), *_python(), *_debian()]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "components": sorted(found, key=lambda it: it["purl"]),
    }


def _python() -> Iterator[Component]:
    for it in distributions():
        name = re.sub(r"[-_.]+", "-", it.metadata["Name"]).lower()
        yield _component(name, it.version, "pypi")


def _debian() -> Iterator[Component]:
    if not _DPKG.exists():
        return
    for paragraph in _DPKG.read_text().split("\n\n"):
        fields = dict(re.findall(r"^(Package|Version|Status): (.+)$", paragraph, re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            yield _component(fields["Package"], fields["Version"], "deb/debian")


def _component(name: str, version: str, kind: str) -> Component:
    return {"type": "library", "name": name, "version": version, "purl": f"pkg:{kind}/{name}@{version}"}


if __name__ == "__main__":
    json.dump(document(), sys.stdout, indent=1)
