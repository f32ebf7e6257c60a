"""What `python -m services.<name> <role>…` does first: import what the role needs, which takes longer than all that follows."""

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from chassis.settings import InvalidSettingsError

Main: TypeAlias = Callable[[], None]


def run(service: str, load: Callable[[], Main], migrations: Path | None = None) -> None:
    """Run the main function of the service, which `load` imports; a setting that will not do ends it with a sentence.

    `migrate` and `schema` need PostgreSQL only, and so none of the service. All else refuses to work on tables that are older than itself.
    """
    sys.modules.setdefault("rich", None)  # type: ignore[arg-type]  # where there is one structlog imports it, for terminals: 45 ms
    gc.disable()  # what is imported stays: looking through it for garbage again and again is a sixth of the time
    match sys.argv[1:]:
        case ["migrate"]:
            main = _migration(service, migrations)
        case ["schema"]:
            main = _gate(service, migrations)
        case _:
            main = _gated(load(), migrations)
    gc.freeze()
    gc.enable()
    try:
        main()
    except InvalidSettingsError as error:
        sys.exit(str(error))


def _gated(main: Main, migrations: Path | None) -> Main:
    def run_on_tables() -> None:
        from chassis.migrations import OlderSchema, require_schema

        try:
            if dsn := os.environ.get("SCRM_DATABASE_URL"):  # that it is missing is said by the settings
                require_schema(dsn, migrations)
        except OlderSchema as error:
            sys.exit(str(error))
        main()

    return run_on_tables


def _migration(service: str, migrations: Path | None) -> Main:
    from chassis.migrations import migrate

    return lambda: migrate(service, migrations)


def _gate(service: str, migrations: Path | None) -> Main:
    from chassis.migrations import wait_for_schema

    return lambda: wait_for_schema(service, migrations)
