"""The examples of the clients against the started stack: calls through the gateway, and events through the real relay."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import ZipFile

import pytest

from chassis.broker import Broker
from clients import typescript_package as typescript
from clients.python_wheel import build
from deploy.local.contracts import ROOT
from deploy.local.stack import LocalStack
from deploy.local.subscribers import Subscriber, make_durables
from tests.places import place

EXAMPLES = ROOT / "clients" / "python" / "examples"
LIST = Subscriber("acme", "list", ("identity.*",))

pytestmark = pytest.mark.timeout(300)  # what the first test waits for: a stack, and the wheel


@pytest.fixture(scope="module")
def stack() -> Iterator[LocalStack]:
    with place("client") as folder, LocalStack(folder, services=("identity",)) as found:
        found.nats.admit([LIST])
        yield found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked: all that the examples see of this repository."""
    folder = tmp_path_factory.mktemp("installed")
    with ZipFile(build(folder)) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


class Program:
    """An example as a process of its own."""

    def __init__(self, installed: Path, name: str, *arguments: str, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, EXAMPLES / name, *arguments],
            env={**os.environ, **environment, "PYTHONPATH": str(installed)},
            cwd=installed,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def output(self) -> str:
        said, _ = self._process.communicate(timeout=60)
        assert self._process.returncode == 0, said
        return said

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)
        assert self._process.stdout
        self._process.stdout.close()


def find(stack: LocalStack, installed: Path, *emails: str) -> str:
    token = stack.credentials.mint("acme", ["identity.read", "identity.write"])
    return "".join(
        Program(installed, "find_customer.py", it, SCRM_TOKEN=token, SCRM_GATEWAY=stack.envoy.address).output()
        for it in emails
    )


def seen(file: Path) -> list[str]:
    """The ids of the events that took effect, one for each time."""
    if not file.exists():
        return []
    with sqlite3.connect(file, timeout=10) as rows:
        try:
            return [it for (it,) in rows.execute("SELECT event FROM seen")]
        except sqlite3.OperationalError:  # not made yet
            return []


async def published(stack: LocalStack, *names: str) -> set[str]:
    """The ids of all events of these names that identity has ever told."""
    broker = Broker(stack.nats.url)
    await broker.connect()
    try:
        stream = await broker.stream("identity")
        assert stream
        found = [await broker.message("identity", seq=it) for it in range(1, stream.last_sequence + 1)]
    finally:
        await broker.close()
    return {it.headers["ce-id"] for it in found if it and it.subject.split(".")[4] in names}


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_customer_is_registered_and_found(stack: LocalStack, installed: Path) -> None:
    first, again = (find(stack, installed, "jane@example.com").splitlines() for _ in range(2))

    customer = first[1].removeprefix("customer ")
    assert first == ["not known before", f"customer {customer}", f"found {customer}"]
    assert again == [f"known before as {customer}", f"customer {customer}", f"found {customer}"]


def test_a_customer_is_found_over_grpc_web(stack: LocalStack) -> None:
    try:
        folder = typescript.build()
    except typescript.NoNode as reason:
        pytest.skip(str(reason))
    told = {
        "SCRM_TOKEN": stack.credentials.mint("acme", ["identity.read", "identity.write"]),
        "SCRM_GATEWAY": f"http://{stack.envoy.address}",
    }
    command = ["node", "dist/examples/search.js", "joan@example.com"]
    first, again = (
        subprocess.run(
            command, cwd=folder, env=os.environ | told, capture_output=True, text=True, timeout=60, check=True
        ).stdout.splitlines()
        for _ in range(2)
    )

    customer = first[1].removeprefix("customer ")
    assert first == ["not known before", f"customer {customer}", f"found {customer}"]
    assert again == [f"known before as {customer}", f"customer {customer}", f"found {customer}"]


def test_a_subscriber_survives_its_own_end_and_that_of_nats(
    stack: LocalStack, installed: Path, tmp_path: Path, loop: asyncio.AbstractEventLoop
) -> None:
    async def admit() -> None:
        broker = Broker(stack.nats.url)
        await broker.connect()
        await make_durables(broker, LIST)
        await broker.close()

    loop.run_until_complete(admit())
    file = tmp_path / "list.db"
    url = LIST.url(stack.nats.address)
    program = Program(installed, "follow_customers.py", str(file), url)
    try:
        find(stack, installed, "one@example.com")
        wait_until(lambda: len(seen(file)) >= 1)
        program.kill()
        before = len(seen(file))
        find(stack, installed, "two@example.com")
        program = Program(installed, "follow_customers.py", str(file), url)
        wait_until(lambda: len(seen(file)) > before)
        stack.nats.kill()
        stack.nats.start()
        before = len(seen(file))
        find(stack, installed, "three@example.com")
        wait_until(lambda: len(seen(file)) > before)
    finally:
        program.kill()
    ids = seen(file)
    assert len(ids) == len(set(ids)) >= 3
    assert sorted(ids, key=lambda it: int(it.split("/")[2])) == ids
    assert set(ids) == loop.run_until_complete(published(stack, "customer_created", "customers_merged"))
