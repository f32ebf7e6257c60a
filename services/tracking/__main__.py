"""`python -m services.tracking <role>…`."""

from pathlib import Path

from chassis.program import Main, run


def load() -> Main:
    from services.tracking.service import main

    return main


if __name__ == "__main__":
    run("tracking", load, Path(__file__).parent / "migrations")
