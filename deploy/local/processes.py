"""Programs of the local stack: each is a child process with its output in a file, that can be stopped, killed and paused."""

import os
import pwd
import random
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

POLL_SECONDS = 0.02
_PORTS = (20_000, 32_000)


class DidNotStart(RuntimeError):
    """A program failed or was not ready in time; says which, and the end of its log."""


@dataclass(frozen=True, slots=True)
class Program:
    """What to run: `environment` replaces the whole environment when given, `user` is another user of the machine to run as."""

    name: str
    command: Sequence[str | Path]
    log: Path
    environment: Mapping[str, str] | None = None
    user: str | None = None
    folder: Path | None = None


class Child:
    """One running (or not running) instance of a program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id of the last start."""
        if self._process is None:
            raise RuntimeError(f"{self.program.name} was never started")
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """What the last start ended with, negative for a signal; None while it runs."""
        return self._process.poll() if self._process else None

    def start(self) -> None:
        """Start the program in a session of its own, so that Ctrl-C reaches only us and we stop it in our order."""
        if self.is_running:
            raise RuntimeError(f"{self.program.name} is running already")
        self.program.log.parent.mkdir(parents=True, exist_ok=True)
        with self.program.log.open("ab") as log:
            self._process = subprocess.Popen(
                list(map(str, self.program.command)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.program.environment,
                cwd=self.program.folder,
                start_new_session=True,
                user=self.program.user,
                group=group_of(self.program.user),
                extra_groups=[] if self.program.user else None,
            )

    def stop(self, with_signal: signal.Signals = signal.SIGTERM, grace_seconds: float = 30) -> None:
        """Ask the program to end; kill it after `grace_seconds`. Does nothing when it is not running."""
        if self._process is None or not self.is_running:
            return
        self.resume()
        self._process.send_signal(with_signal)
        try:
            self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL the program and all its descendants, and wait until they are gone."""
        if self._process is None or not self.is_running:
            return
        parent = psutil.Process(self._process.pid)
        family = [*parent.children(recursive=True), parent]
        for process in reversed(family):  # the parent first, so that it cannot see its children die
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        self._process.wait(10)
        while not all(map(_gone, family)):
            time.sleep(POLL_SECONDS)

    def pause(self) -> None:
        """SIGSTOP: the program keeps its connections and answers nothing until `resume`."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def wait_until(self, ready: Callable[[], bool], timeout_seconds: float = 60) -> None:
        """Poll `ready` until it holds; raise `DidNotStart` when the program ends before or the time is over."""
        deadline = time.monotonic() + timeout_seconds
        while not ready():
            if not self.is_running:
                raise DidNotStart(f"{self.program.name} ended:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise DidNotStart(f"{self.program.name} is not ready after {timeout_seconds} s:\n{self.log_tail()}")
            time.sleep(POLL_SECONDS)

    def wait(self, timeout_seconds: float) -> None:
        """Wait for a program that ends by itself; raise `DidNotStart` when it fails or takes too long (it is killed then)."""
        if self._process is None:
            raise RuntimeError(f"{self.program.name} was never started")
        try:
            status = self._process.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise DidNotStart(f"{self.program.name} took more than {timeout_seconds} s:\n{self.log_tail()}") from None
        if status != 0:
            raise DidNotStart(f"{self.program.name} failed with status {status}:\n{self.log_tail()}")

    def log_tail(self, lines: int = 20) -> str:
        return "\n".join(self.program.log.read_text(errors="replace").splitlines()[-lines:])


def free_port() -> int:
    """A TCP port of the loopback address that nobody uses now, below those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(*_PORTS)  # noqa: S311
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def group_of(user: str | None) -> int | None:
    """The main group of a user of this machine; None for None, which is how `subprocess` says: as we are."""
    return pwd.getpwnam(user).pw_gid if user else None


def script(name: str) -> Path:
    """The path of a program that an installed wheel brings."""
    return Path(sysconfig.get_path("scripts")) / name


def _gone(process: psutil.Process) -> bool:
    """Whether `process` ended; one that nobody has reaped yet did."""
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True
