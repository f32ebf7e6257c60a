"""`python -m services.campaigns <role>…`."""

from pathlib import Path

from chassis.program import Main, run


def load() -> Main:
    from services.campaigns.service import main

    return main


if __name__ == "__main__":
    run("campaigns", load, Path(__file__).parent / "migrations")
