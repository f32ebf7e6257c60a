"""Where the servers of the tests keep what they store: in memory where the machine has room for it, else on the disk.

Making, syncing and removing files is most of what PostgreSQL and NATS do under tests. What a process wrote before it was killed is
in either place after it; only a machine that loses power would tell them apart, and that no test does.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory
from typing import Final

_IN_MEMORY: Final = Path("/dev/shm")
_ROOM: Final = 6 << 30
"""Bytes: several times what all servers of a run store at once."""


def folder_of_servers() -> Path:
    """The folder in which those below are made."""
    if _IN_MEMORY.is_dir() and disk_usage(_IN_MEMORY).free >= _ROOM:
        return _IN_MEMORY
    return Path(tempfile.gettempdir())


@contextmanager
def place(name: str) -> Iterator[Path]:
    """An empty folder for servers, removed at the end.

    Not below pytest's own folder: as root PostgreSQL runs as another user, whom pytest shuts out whenever a session starts.
    """
    with TemporaryDirectory(prefix=f"scrm-{name}-", dir=folder_of_servers()) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
