"""A TCP proxy before PostgreSQL that cuts connections around a COMMIT, so that nobody is told what became of it."""

import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from threading import Lock, Thread
from types import TracebackType
from typing import Final, Self

_CHUNK: Final = 65_536
_COMMIT: Final = b"COMMIT\x00"
"""In what the client sends, the end of the statement; in what the server sends, the tag of a commit that is done."""


class Cut(StrEnum):
    """Where to cut: not at all, before the COMMIT gets there, right after it was passed on, or once it is done."""

    NOT = "not"
    BEFORE = "before the commit"
    DURING = "during the commit"
    AFTER = "after the commit"


class CuttingProxy:
    """Passes on to `port` of the loopback what comes to its own `port`; `decide` is asked at every COMMIT. A context manager."""

    def __init__(self, port: int, decide: Callable[[], Cut]) -> None:
        self.cuts: Counter[Cut] = Counter()
        self._target = ("127.0.0.1", port)
        self._decide = decide
        self._turn = Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
            except OSError:
                return
            for it in (client, server):
                it.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Link(client, server, self._ask).start()

    def _ask(self) -> Cut:
        with self._turn:
            cut = self._decide()
            self.cuts[cut] += 1
        return cut


class _Link:
    """One connection through the proxy."""

    def __init__(self, client: socket.socket, server: socket.socket, ask: Callable[[], Cut]) -> None:
        self._client = client
        self._server = server
        self._ask = ask
        self._mute = False

    def start(self) -> None:
        Thread(target=self._requests, daemon=True).start()
        Thread(target=self._answers, daemon=True).start()

    def _requests(self) -> None:
        tail = b""
        with suppress(OSError):
            while chunk := self._client.recv(_CHUNK):
                cut = self._ask() if _COMMIT in tail + chunk else Cut.NOT
                tail = chunk[-len(_COMMIT) + 1 :]
                if cut is Cut.BEFORE:
                    break
                self._mute = self._mute or cut is Cut.AFTER  # the other thread hangs up when it is done
                self._server.sendall(chunk)
                if cut is Cut.DURING:
                    break
        self._hang_up()

    def _answers(self) -> None:
        tail = b""
        with suppress(OSError):
            while chunk := self._server.recv(_CHUNK):
                if self._mute:
                    if _COMMIT in tail + chunk:
                        break
                    tail = chunk[-len(_COMMIT) + 1 :]
                else:
                    self._client.sendall(chunk)
        self._hang_up()

    def _hang_up(self) -> None:
        for it in (self._client, self._server):
            with suppress(OSError):
                it.shutdown(socket.SHUT_RDWR)
            it.close()
