"""The main job from beginning to end: 18 months of a music shop, a decision in the middle, and a report."""

import asyncio
import json
import shutil
from collections.abc import Mapping
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from rich.console import Console

from chassis.broker import Broker
from demo import brand, report, tables
from demo.backend import TENANT, Backend, connected
from demo.board import Board
from demo.calendar import instant
from demo.erasing import CERTIFICATES, Erasing, differences, leaving
from demo.replay import Replay
from demo.story import Story, tell
from demo.timing import Stopwatch, processor_seconds
from deploy.local.contracts import ROOT, scopes
from deploy.local.stack import LocalStack

FOLDER: Final = ROOT / "build" / "demo"
_JSON: Final = "report.json"
_MARKDOWN: Final = "report.md"
_ROWS: Final = "rfm_rows.csv"
_STATE: Final = "state"

_DECISION_DAY: Final = date(1998, 1, 5)
_END_DAY: Final = date(1998, 7, 1)
_SEND_AT: Final = instant(_DECISION_DAY, time(10))
_OBSERVED_UNTIL: Final = instant(date(1998, 2, 12), time(10))
_DEADLINE: Final = _SEND_AT + timedelta(days=7)
_ERASED_BY: Final = instant(_END_DAY) + timedelta(hours=1)  # after which nobody may change their mind any more


class Job:
    """One run, whose results replace those of the last one in `folder`; `found` grows into the report."""

    def __init__(self, folder: Path, console: Console, *, smoke: bool) -> None:
        self.folder = folder
        self.console = console
        self.smoke = smoke
        self.watch = Stopwatch()
        self.found: dict[str, Any] = {"tenant": TENANT, "smoke": smoke}

    def run(self) -> dict[str, Any]:
        """Do the whole job; the report, which is also in `folder` as JSON, Markdown and CSV."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in (_JSON, _MARKDOWN, _ROWS):
            (self.folder / name).unlink(missing_ok=True)
        for name in (_STATE, CERTIFICATES):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        stack = LocalStack(self.folder / _STATE, clock="replay")
        try:
            asyncio.run(self._on(stack))
        finally:
            with self.console.status("Stopping the services"):
                stack.stop()
        (self.folder / _JSON).write_text(json.dumps(self.found, indent=2) + "\n")
        (self.folder / _MARKDOWN).write_text(tables.markdown(self.found))
        return self.found

    async def _on(self, stack: LocalStack) -> None:
        """Tell the story to the services of `stack` and ask them for the report."""
        with self.watch.phase("start"), self.console.status("Starting five services, and reading the data"):
            _, story = await asyncio.gather(asyncio.to_thread(stack.start), asyncio.to_thread(tell, smoke=self.smoke))
        broker = Broker(stack.nats.url, monitor_url=stack.nats.monitor_url, name="demo")
        await broker.connect()
        try:
            addresses = {name: stack.address(name) for name in stack.services}
            async with connected(addresses, stack.credentials.mint(TENANT, scopes(), subject="demo")) as backend:
                await self._tell(backend, broker, story, stack)
        finally:
            await broker.close()
        processes = {name: stack.pid(name) for name in (*stack.services, "postgres", "nats")}
        self.found["timings"] = self._timings(story, processor_seconds(processes))

    async def _tell(self, backend: Backend, broker: Broker, story: Story, stack: LocalStack) -> None:
        with Board(self.console, len(story.days), story.size) as board:
            replay = Replay(backend, broker, story, board)
            with self.watch.phase("configure"):
                await replay.move_to(instant(story.days[0].day))
                await brand.configure(backend)
            with self.watch.phase("replay to the decision"):
                await replay.play_until(instant(_DECISION_DAY))
            with self.watch.phase("decide and send"):
                broadcast_id = await self._decide_and_send(backend, replay)
            with self.watch.phase("replay to the end"):
                await replay.play_until(_DEADLINE)
                await replay.play_until(instant(_END_DAY))
        with self.watch.phase("report"), self.console.status("Asking the services for the report"):
            self.found |= await self._ask(backend, broadcast_id)
            run_id = await brand.score(backend, _END_DAY)
            await report.write_rfm_rows(backend, run_id, self.folder / _ROWS)
        with self.watch.phase("erase"), self.console.status("Erasing those who want to be forgotten"):
            erasing = Erasing(backend, replay, stack, self.folder / CERTIFICATES)
            self.found["erasure"] = await erasing.erase(leaving(story), instant(_END_DAY), _ERASED_BY)
            again = await self._ask(backend, broadcast_id)
            self.found["erasure"]["changed"] = differences({it: self.found[it] for it in again}, again)

    async def _decide_and_send(self, backend: Backend, replay: Replay) -> str:
        """Who is slipping away? They get a broadcast in two variants; its id."""
        run_id = await brand.score(backend, _DECISION_DAY)
        self.found["checkpoint_a"] = await report.rfm(backend, run_id)
        frozen = await brand.freeze_audience(backend, run_id)
        self.found["audience"] = report.audience(frozen)
        broadcast_id = await brand.approve_winback(backend, frozen, _SEND_AT, _OBSERVED_UNTIL)
        await replay.move_to(_SEND_AT)
        return broadcast_id

    async def _ask(self, backend: Backend, broadcast_id: str) -> dict[str, Any]:
        """What the services say at the end."""
        observed = Duration(seconds=int((_OBSERVED_UNTIL - _SEND_AT).total_seconds()))
        run_id = await brand.score(backend, _END_DAY)
        return {
            "orders": await report.orders(backend),
            "ingestion": await report.ingestion(backend),
            "identity": await report.identities(backend),
            "rfm": {"real": await report.rfm(backend, run_id)},
            "experiment": await report.experiment(backend, broadcast_id, observed),
            "membership": await report.memberships(backend),
            "night_owl": await report.night_owls(backend),
        }

    def _timings(self, story: Story, processors: Mapping[str, float]) -> dict[str, Any]:
        size = story.size
        facts = size["touches"] + size["logins"] + 2 * size["orders"]
        replaying = sum(seconds for phase, seconds in self.watch.seconds.items() if phase.startswith("replay"))
        return {
            "seconds": {phase: round(seconds, 1) for phase, seconds in self.watch.seconds.items()},
            "total_seconds": round(self.watch.total, 1),
            "facts": facts,
            "facts_per_second": round(facts / replaying),
            "processor_seconds": dict(processors),
        }
