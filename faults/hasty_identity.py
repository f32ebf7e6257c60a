"""The negative control of `kills`: identity with a bus that answers before it commits. `python -m faults.hasty_identity all`."""

import sys
from collections.abc import Sequence
from time import sleep
from typing import Final

import sqlalchemy as sa

from chassis import kit
from chassis.commands import CommandBus
from chassis.group_commit import Job, Outcome, answer
from services.identity.service import service
from services.identity.settings import Settings

_AHEAD_SECONDS: Final = 0.1


class HastyBus(CommandBus):
    """Tells callers what it is going to do, and does it a moment later."""

    def _commit_jobs(self, jobs: Sequence[Job]) -> None:
        super()._commit_jobs([_hasty(it) for it in jobs])


def _hasty(job: Job) -> Job:
    def settle(_: sa.Connection, outcomes: Sequence[Outcome]) -> None:
        answer([(job, list(outcomes))])
        sleep(_AHEAD_SECONDS)

    return Job(job.orders, shared=False, settle=settle, done=job.done)


if __name__ == "__main__":
    kit.CommandBus = HastyBus  # type: ignore[attr-defined]  # in place of the one it would make
    service(Settings.from_environment()).run(sys.argv[1:])
