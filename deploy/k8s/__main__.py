"""The manifests from the command line: `generate` writes the files that are made, `render` shows an overlay, `secrets` those of dev."""

import argparse
from pathlib import Path

import yaml

from deploy.k8s import components, overlay, random_secrets, service_files
from deploy.k8s.kustomize import render
from deploy.local.contracts import ROOT


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m deploy.k8s", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("generate", help="write base/<service>, and what is made of the overlays and components")
    commands.add_parser("render", help="write build/k8s/<overlay>.yaml for every overlay")
    commands.add_parser("secrets", help="print random Secrets for the overlay dev")
    match parser.parse_args().command:
        case "generate":
            write(service_files.files() | overlay.files() | components.files())
        case "render":
            write({ROOT / "build" / "k8s" / f"{name}.yaml": rendered(name) for name in overlay.RENDERED})
        case "secrets":
            print(random_secrets.documents(), end="")


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
