"""Backups of the local PostgreSQL: a copy of all databases and the log of every change since, out of which it can be made again
as it was at any moment."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Final

import psycopg

from deploy.local.postgres import Postgres

ARCHIVE_SECONDS: Final = 1
"""For how long a change is in the server only: so much may be lost with it."""
_POLL_SECONDS: Final = 0.02


class BackupFailed(Exception):
    """A backup could not be made, is not whole, or does not reach to the moment asked for; ends with what PostgreSQL said."""


class Backups:
    """A base backup and the archive of the log in `folder`; the server has to be started with `settings`."""

    def __init__(self, folder: Path) -> None:
        self._base = folder.absolute() / "base"
        self._archive = folder.absolute() / "wal"

    @property
    def settings(self) -> Mapping[str, str]:
        """What makes a server keep its log in the archive; `archive_command` may never overwrite."""
        kept = f'"{self._archive}/%f"'
        # Renamed when it is whole, so that a crash leaves no half of a file under its name.
        command = f'test ! -f {kept} && cp "%p" "{self._archive}/.%f" && sync "{self._archive}/.%f" && mv "{self._archive}/.%f" {kept}'
        return {"archive_mode": "on", "archive_timeout": str(ARCHIVE_SECONDS), "archive_command": command}

    def open(self, server: Postgres) -> None:
        """Make the folders, before `server` is started. Restarted servers find them."""
        server.give(self._archive)

    def take(self, server: Postgres) -> None:
        """A base backup of the running server, which goes on, checked against its own list of checksums."""
        server.give(self._base)
        _require(
            server,
            *("pg_basebackup", "--dbname", server.dsn("postgres", "postgres"), "--pgdata", str(self._base)),
            *("--checkpoint=fast", "--wal-method=none", "--manifest-checksums=SHA256"),
        )
        if broken := _broken(self._base):
            raise BackupFailed(f"not as they were written: {', '.join(broken[:5])}")

    def wait_until_archived(self, server: Postgres, seconds: float = 60) -> None:
        """Return when all that is committed now could be restored."""
        with psycopg.connect(server.dsn("postgres", "postgres"), autocommit=True) as rows:
            # Something to be archived: where nothing was written for a while, the archive stands still.
            ((now,),) = rows.execute("SELECT pg_walfile_name(pg_create_restore_point('archived'))").fetchall()
            give_up = monotonic() + seconds
            while not (self._archive / str(now)).exists():
                if monotonic() > give_up:
                    raise BackupFailed(f"{now} is not archived after {seconds:g} s")
                sleep(_POLL_SECONDS)

    def restore(self, server: Postgres, moment: datetime, seconds: float = 300) -> None:
        """Make `server`, which is not running and whose files are not looked at, as it was at `moment`, and start it."""
        shutil.rmtree(server.data_dir, ignore_errors=True)
        server.give(server.data_dir)
        _require(server, "pg_combinebackup", str(self._base), "--output", str(server.data_dir))
        server.data_dir.chmod(0o700)
        with (server.data_dir / "postgresql.auto.conf").open("a") as settings:
            settings.write(f'restore_command = \'cp "{self._archive}/%f" "%p"\'\n')
            settings.write(f"recovery_target_time = '{moment.isoformat()}'\nrecovery_target_action = 'promote'\n")
        (server.data_dir / "recovery.signal").touch()
        server.start()
        with psycopg.connect(server.dsn("postgres", "postgres"), autocommit=True) as rows:
            give_up = monotonic() + seconds
            while rows.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
                if monotonic() > give_up:
                    raise BackupFailed(f"not restored after {seconds:g} s:\n{server.child.log_tail()}")
                sleep(_POLL_SECONDS)
            rows.execute("CHECKPOINT")  # wakes who looks after archive_timeout: in recovery it did not count


def _broken(base: Path) -> list[str]:
    """The files of a base backup that are not what its manifest says; the wheel's own pg_verifybackup ends with a signal."""
    manifest = json.loads((base / "backup_manifest").read_bytes())
    return [it["Path"] for it in manifest["Files"] if _digest(base / it["Path"]) != it["Checksum"]]


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _require(server: Postgres, program: str, *arguments: str) -> None:
    done = server.run(program, *arguments)
    if done.returncode != 0:
        raise BackupFailed(f"{program}:\n{done.stdout[-2000:]}")
