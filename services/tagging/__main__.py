"""`python -m services.tagging <role>…`."""

from pathlib import Path

from chassis.program import Main, run


def load() -> Main:
    from services.tagging.service import main

    return main


if __name__ == "__main__":
    run("tagging", load, Path(__file__).parent / "migrations")
