"""The local stack from the command line: `up`, `down`, `token`, which `make` runs, `subscriber` and `verify-erasure`."""

import argparse
import asyncio
import json
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from uuid import UUID

import psutil
from google.protobuf import json_format
from rich.console import Console
from rich.table import Column, Table

from chassis.broker import Broker
from deploy.local.broker import NatsServer
from deploy.local.contracts import ROOT, scopes
from deploy.local.credentials import Credentials
from deploy.local.erasure_check import verify
from deploy.local.postgres import Postgres
from deploy.local.processes import Child, DidNotStart, Program
from deploy.local.stack import SERVICES, LocalStack, Ports, nats_server, register
from deploy.local.subscribers import UnknownEvent, make_durables, remove_durables
from scrm.identity.v1.privacy_service_pb2 import GetErasureCertificateResponse

STATE = ROOT / ".local"
DEMO_STATE = ROOT / "build" / "demo" / "state"
RUNNING = (
    STATE / "running.json"
)  # written when everything serves: {state: folder, processes: name → [id, when it was created]}
SUPERVISOR = "supervisor"


def main() -> None:
    arguments = parse_arguments()
    match arguments.command:
        case "up":
            try:
                up(arguments.clock, of_demo=arguments.demo)
            except DidNotStart as failure:
                sys.exit(str(failure))
        case "run":
            run(arguments.clock, of_demo=arguments.demo)
        case "down":
            down()
        case "verify-erasure":
            verify_erasure(arguments.certificates, arguments.state)
        case "subscriber" if arguments.remove:
            asyncio.run(expel(arguments.tenant, arguments.name))
        case "subscriber":
            asyncio.run(admit(arguments.tenant, arguments.name, arguments.events))
        case "token":
            credentials = Credentials.in_folder(present_state() / "credentials")
            granted = arguments.scopes.split() if arguments.scopes else scopes()
            hours = timedelta(hours=arguments.hours)
            print(credentials.mint(arguments.tenant, granted, arguments.subject, hours, arguments.stores))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deploy.local", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, sentence in (("up", "start everything in the background"), ("run", "start everything and stay")):
        starts = commands.add_parser(name, help=sentence)
        starts.add_argument("--clock", choices=["system", "replay"], default="system")
        starts.add_argument("--demo", action="store_true", help="with what `make demo` left, at the time when it ended")
    commands.add_parser("down", help="stop what `up` started")
    certificate = commands.add_parser("verify-erasure", help="check certificates against the databases")
    certificate.add_argument(
        "certificates", type=Path, nargs="+", help="files with what GetErasureCertificate answered, as JSON"
    )
    certificate.add_argument(
        "--state", type=Path, default=STATE, help="the folder of another stack, such as build/demo/state"
    )
    subscriber = commands.add_parser("subscriber", help="let another system read events, and print where it connects")
    subscriber.add_argument("--tenant", default="demo")
    subscriber.add_argument("--name", required=True, help="small letters, digits, - and _")
    subscriber.add_argument(
        "--events", nargs="+", default=["identity.*"], help="such as identity.customers_merged, tracking.*"
    )
    subscriber.add_argument("--remove", action="store_true", help="let it in no more")
    token = commands.add_parser("token", help="print a token")
    token.add_argument("--tenant", default="demo")
    token.add_argument("--scopes", help="separated by spaces; all when not given")
    token.add_argument("--subject", default="developer")
    token.add_argument("--hours", type=float, default=12)
    token.add_argument("--stores", type=UUID, nargs="*", help="ids of the stores it is bound to; none when not given")
    return parser.parse_args()


def up(clock: str, *, of_demo: bool) -> None:
    """Start the stack under a supervisor in the background, wait until it serves, and print the addresses."""
    if SUPERVISOR in still_running():
        sys.exit("The local stack is running already; `make down` stops it.")
    if of_demo and not (DEMO_STATE / "postgres" / "PG_VERSION").exists():
        sys.exit("No demo has run here; `make demo` or, with one customer in ten, `make demo SMOKE=1` runs it.")
    down()
    command = [sys.executable, "-m", "deploy.local", "run", "--clock", clock, *(["--demo"] if of_demo else [])]
    supervisor = Child(Program(SUPERVISOR, command, STATE / "logs" / f"{SUPERVISOR}.log", folder=ROOT))
    supervisor.start()
    try:
        supervisor.wait_until(RUNNING.exists, timeout_seconds=180)
    except BaseException:
        supervisor.stop()
        raise
    print_addresses(Ports.fixed())
    if of_demo:
        print("The demo's tenant: `make token TENANT=cdnow-demo`. Its clock stands still where the demo ended.")


def run(clock: str, *, of_demo: bool) -> None:
    """Hold the stack until SIGTERM or SIGINT."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # while starting: unwind and stop what has started
    folder, clock = (DEMO_STATE, "replay") if of_demo else (STATE, clock)
    with LocalStack(folder, ports=Ports.fixed(), clock=clock) as stack:
        processes = {SUPERVISOR: psutil.Process()}
        for name in (*stack.services, "postgres", "nats", "envoy"):
            processes[name] = psutil.Process(stack.pid(name))
        stopping = threading.Event()
        for wanted in (signal.SIGTERM, signal.SIGINT):
            signal.signal(wanted, lambda *_: stopping.set())
        started = {name: [it.pid, it.create_time()] for name, it in processes.items()}
        RUNNING.write_text(json.dumps({"state": str(folder), "processes": started}))
        while not stopping.wait(0.2):  # in turns, as a signal taken by a thread of gRPC does not wake this one
            pass
    RUNNING.unlink()


def down() -> None:
    """Stop the supervisor, which stops the rest; then whatever a killed supervisor has left behind."""
    for process in still_running().values():
        try:
            process.send_signal(signal.SIGINT)  # to PostgreSQL a fast shutdown, to the others the same as SIGTERM
            process.wait(60)
        except psutil.NoSuchProcess:
            continue
    RUNNING.unlink(missing_ok=True)


def still_running() -> dict[str, psutil.Process]:
    """The processes of the stack that are alive, the supervisor first."""
    recorded = json.loads(RUNNING.read_text())["processes"] if RUNNING.exists() else {}
    alive = {}
    for name, (pid, created) in recorded.items():
        try:
            process = psutil.Process(pid)
            if process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE:
                alive[name] = process
        except psutil.NoSuchProcess:
            continue
    return alive


def present_state() -> Path:
    """Where the running stack keeps what it has; where it would, if it does not run."""
    return Path(json.loads(RUNNING.read_text())["state"]) if RUNNING.exists() else STATE


async def admit(tenant: str, name: str, events: Sequence[str]) -> None:
    """Make a subscriber known to the running stack, or give one other events, and print the address with its credentials."""
    server = running_nats()
    try:
        subscriber = register(present_state()).put(tenant, name, events)
    except UnknownEvent as unknown:
        sys.exit(f"No service publishes {unknown}; docs/events.md says what is published.")
    await change(server, partial(make_durables, subscriber=subscriber))
    print(subscriber.url(server.address))


async def expel(tenant: str, name: str) -> None:
    """Let a subscriber in no more, and forget how far it has read."""
    server = running_nats()
    subscriber = register(present_state()).remove(tenant, name)
    await change(server, partial(remove_durables, subscriber=subscriber))


async def change(server: NatsServer, act: Callable[[Broker], Awaitable[None]]) -> None:
    server.write_configuration(register(present_state()).all())
    server.reload(still_running()["nats"].pid)
    broker = Broker(server.url, name="subscribers")
    await broker.connect()
    try:
        await act(broker)
    finally:
        await broker.close()


def running_nats() -> NatsServer:
    if "nats" not in still_running():
        sys.exit("The local stack is not running; `make up` starts it.")
    return nats_server(present_state(), Ports.fixed())


def verify_erasure(files: Sequence[Path], state: Path) -> None:
    """Say what speaks against certificates; ends with 1 if anything does."""
    given = [json_format.Parse(it.read_text(), GetErasureCertificateResponse()).certificate for it in files]
    with running_postgres(state) as postgres:
        verdict = verify(given, partial(postgres.dsn, user="postgres"))
    if verdict.holds:
        print(f"{len(given)} as they were given; no row leads to the people, and no key is left.")
        return
    for case in verdict.altered:
        print(f"The certificate of {case} was altered: its digest is another.")
    for table, count in verdict.left.items():
        print(f"{table}: {count} of the ids are still there")
    sys.exit(f"{verdict.keys} data keys are left" if verdict.keys else 1)


@contextmanager
def running_postgres(state: Path) -> Iterator[Postgres]:
    """The PostgreSQL of the running stack, or the one of a stack that was stopped, started for as long as this lasts."""
    if state == present_state() and "postgres" in still_running():
        yield Postgres(state / "postgres", Ports.fixed().postgres)
        return
    if not (state / "postgres" / "PG_VERSION").exists():
        sys.exit(f"There is no stack in {state}.")
    postgres = Postgres(state / "postgres")
    postgres.start()
    try:
        yield postgres
    finally:
        postgres.stop()


def print_addresses(ports: Ports) -> None:
    table = Table("what", Column("where", overflow="fold"), box=None)
    table.add_row("gateway: gRPC, gRPC-Web, REST", f"http://127.0.0.1:{ports.gateway}")
    table.add_row("the REST calls, to read and to try", f"http://127.0.0.1:{ports.gateway}/docs/")
    table.add_row("the events, to read", f"http://127.0.0.1:{ports.gateway}/docs/events.html")
    table.add_row("a page that makes calls", f"http://127.0.0.1:{ports.gateway}/docs/customers.html")
    table.add_row("SDKs of Segment and RudderStack", f"http://127.0.0.1:{ports.gateway}")
    for name in SERVICES:
        table.add_row(
            f"{name}: gRPC, metrics", f"127.0.0.1:{ports.grpc[name]}, http://127.0.0.1:{ports.metrics[name]}/metrics"
        )
    table.add_row("PostgreSQL", f"postgresql://scrm_reader@127.0.0.1:{ports.postgres}/<service>")
    table.add_row("NATS, its monitoring", f"nats://127.0.0.1:{ports.nats}, http://127.0.0.1:{ports.nats_monitor}")
    table.add_row("logs", str(present_state() / "logs"))
    console = Console()
    console.print(table)
    console.print("A token for calls: `make token`. To read events: `make subscriber NAME=crm`. To stop: `make down`.")


if __name__ == "__main__":
    main()
