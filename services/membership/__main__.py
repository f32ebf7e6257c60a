"""`python -m services.membership <role>…`."""

from chassis.program import Main, run


def load() -> Main:
    from services.membership.service import main

    return main


if __name__ == "__main__":
    run("membership", load)
