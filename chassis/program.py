"""What `python -m services.<name> <role>…` does first: import what the role needs, which takes longer than all that follows."""

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from chassis.settings import InvalidSettingsError

Main: TypeAlias = Callable[[], None]


def run(service: str, load: Callable[[], Main], migrations: Path | None = None) -> None:
    """Run the main function of the service, which `load` imports; a setting that will not do ends it with a sentence.

    `migrate` needs PostgreSQL only, and so none of the service.
    """
    gc.disable()  # what is imported stays: looking through it for garbage again and again is a sixth of the time
    main = _migration(service, migrations) if sys.argv[1:] == ["migrate"] else load()
    gc.freeze()
    gc.enable()
    try:
        main()
    except InvalidSettingsError as error:
        sys.exit(str(error))


def _migration(service: str, migrations: Path | None) -> Main:
    from chassis.migrations import migrate

    return lambda: migrate(service, migrations)
