"""The manifests from the command line: `generate` writes the files that are made, `render` shows an overlay, `secrets` those of dev.

`subscribers` prints the Secret by which NATS knows other systems, and makes in NATS what they read through.
"""

import argparse
import asyncio
from collections.abc import Sequence
from pathlib import Path

import yaml

from chassis.broker import Broker
from deploy.k8s import components, overlay, random_secrets, service_files
from deploy.k8s.kustomize import render
from deploy.local.contracts import ROOT
from deploy.local.subscribers import Register, Subscriber, make_durables


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.k8s", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("generate", help="write base/<service>, and what is made of the overlays and components")
    commands.add_parser("render", help="write build/k8s/<overlay>.yaml for every overlay")
    commands.add_parser("secrets", help="print random Secrets for the overlay dev")
    subscribers = commands.add_parser(
        "subscribers", help="print the Secret of the subscribers, and make their durables"
    )
    subscribers.add_argument(
        "register", type=Path, help="a file that `python -m deploy.k8s subscriber` writes; to be kept secret"
    )
    subscribers.add_argument(
        "--nats-url", help="where NATS can be reached as the services reach it; nothing is made without"
    )
    subscriber = commands.add_parser("subscriber", help="add a subscriber to a register, and print where it connects")
    subscriber.add_argument("register", type=Path)
    subscriber.add_argument("--tenant", required=True)
    subscriber.add_argument("--name", required=True)
    subscriber.add_argument("--events", nargs="+", required=True, help="such as identity.customers_merged, tracking.*")
    arguments = parser.parse_args()
    match arguments.command:
        case "generate":
            write(service_files.files() | overlay.files() | components.files())
        case "render":
            write({ROOT / "build" / "k8s" / f"{name}.yaml": rendered(name) for name in overlay.RENDERED})
        case "secrets":
            print(random_secrets.documents(), end="")
        case "subscriber":
            added = Register(arguments.register).put(arguments.tenant, arguments.name, arguments.events)
            print(added.url("nats.scrm:4222"))
        case "subscribers":
            known = Register(arguments.register).all()
            if arguments.nats_url:
                asyncio.run(make_all_durables(arguments.nats_url, known))
            secret = random_secrets.subscribers_secret(known)
            secret["metadata"]["namespace"] = "scrm"
            print(yaml.safe_dump(secret, sort_keys=False), end="")


async def make_all_durables(nats_url: str, subscribers: Sequence[Subscriber]) -> None:
    """What the subscribers read through; to be made again when a stream was made anew."""
    broker = Broker(nats_url, name="subscribers")
    await broker.connect()
    try:
        for it in subscribers:
            await make_durables(broker, it)
    finally:
        await broker.close()


def rendered(name: str) -> str:
    """All objects of an overlay as one YAML file."""
    return str(yaml.safe_dump_all(render(overlay.OVERLAYS / name), sort_keys=False))


def write(files: dict[Path, str]) -> None:
    """Write what is not as it should be, and say so."""
    for path, content in files.items():
        if not path.exists() or path.read_text() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
