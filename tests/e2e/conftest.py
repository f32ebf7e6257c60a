"""All five services under a replay clock, for whichever tests of a session let time pass by days."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from deploy.local.stack import LocalStack


@pytest.fixture(scope="session")
def stack() -> Iterator[LocalStack]:
    """A test that comes later finds what the ones before have left, and the clock where they left it."""
    with TemporaryDirectory(prefix="scrm-e2e-") as folder:
        Path(folder).chmod(0o755)  # as root, PostgreSQL runs as another user
        with LocalStack(Path(folder) / "state", clock="replay") as started:
            yield started
