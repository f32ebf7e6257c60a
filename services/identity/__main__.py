"""`python -m services.identity <role>…`."""

from pathlib import Path

from chassis.program import Main, run


def load() -> Main:
    from services.identity.service import main

    return main


if __name__ == "__main__":
    run("identity", load, Path(__file__).parent / "migrations")
