"""The main job from beginning to end: 18 months of a music shop, a decision in the middle, and a report."""

import asyncio
import gc
import json
import shutil
from collections.abc import Mapping
from datetime import date, time, timedelta
from pathlib import Path
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from rich.console import Console

from chassis.broker import Broker
from demo import behaviour_report, brand, explaining, layer_report, referrals, report, tables
from demo.backend import TENANT, Backend, connected, together
from demo.board import Board
from demo.calendar import instant
from demo.erasing import CERTIFICATES, Erasing, differences, leaving
from demo.replay import Replay
from demo.story import CLOSED_ON, Story, tell
from demo.timing import Stopwatch, processor_seconds
from deploy.local.contracts import ROOT, scopes
from deploy.local.stack import LocalStack

FOLDER: Final = ROOT / "build" / "demo"
_JSON: Final = "report.json"
_MARKDOWN: Final = "report.md"
_ROWS: Final = "rfm_rows.csv"
_STATE: Final = "state"

_DECISION_DAY: Final = date(1998, 1, 5)
_QUARTERS: Final = (date(1998, 1, 1), date(1998, 4, 1), CLOSED_ON)
_SEND_AT: Final = instant(_DECISION_DAY, time(10))
_OBSERVED_UNTIL: Final = instant(date(1998, 2, 12), time(10))
_DEADLINE: Final = _SEND_AT + timedelta(days=7)
_UNTIL_ERASED: Final = timedelta(hours=1)  # after which nobody may change their mind any more


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
            gc.disable()  # a story is a million objects, which all stay: nothing to look for
            _, story = await asyncio.gather(asyncio.to_thread(stack.start), asyncio.to_thread(tell, smoke=self.smoke))
            gc.freeze()
            gc.enable()
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
                await referrals.give_codes(backend, story.sharing)
                broadcast_id = await self._decide_and_send(backend, replay)
            with self.watch.phase("replay to the end"):
                await replay.play_until(_DEADLINE)
                await replay.play_until(instant(CLOSED_ON))
            with self.watch.phase("report"):
                await self._ask(backend, broadcast_id)
            with self.watch.phase("replay what comes in later"):
                await replay.play_to_the_end()
        with self.watch.phase("report"), self.console.status("Asking the services for the report"):
            await self._ask_at_last(backend)
        with self.watch.phase("erase"), self.console.status("Erasing those who want to be forgotten"):
            await self._erase(backend, broadcast_id, Erasing(backend, replay, stack, self.folder / CERTIFICATES), story)

    async def _decide_and_send(self, backend: Backend, replay: Replay) -> str:
        """Who is slipping away? They get a broadcast in two variants; its id."""
        run_id = await brand.run_model(backend, brand.MODEL, _DECISION_DAY)
        self.found["checkpoint_a"] = await report.rfm(backend, run_id)
        frozen = await brand.freeze_audience(backend, run_id)
        self.found["audience"] = report.audience(frozen)
        broadcast_id = await brand.approve_winback(backend, frozen, _SEND_AT, _OBSERVED_UNTIL)
        await replay.move_to(_SEND_AT)
        return broadcast_id

    async def _ask(self, backend: Backend, broadcast_id: str) -> None:
        """What there is to say at the end of June."""
        counts, *others = await asyncio.gather(
            self._counts(backend, broadcast_id),
            self._rfm(backend),
            explaining.explanations(backend),
            behaviour_report.insights(backend),
        )
        self.found |= counts | dict(zip(("rfm", "explanation", "insights"), others, strict=True))

    async def _rfm(self, backend: Backend) -> dict[str, Any]:
        run_id = await brand.run_model(backend, brand.MODEL, CLOSED_ON)
        found = await report.rfm(backend, run_id)
        await report.write_rfm_rows(backend, run_id, self.folder / _ROWS)
        return {"real": found}

    async def _counts(self, backend: Backend, broadcast_id: str) -> dict[str, Any]:
        observed = Duration(seconds=int((_OBSERVED_UNTIL - _SEND_AT).total_seconds()))
        return await together(
            orders=report.orders(backend),
            experiment=report.experiment(backend, broadcast_id, observed),
            membership=report.memberships(backend),
            night_owl=report.night_owls(backend),
        )

    async def _ask_at_last(self, backend: Backend) -> None:
        """What is counted of everything that ever came in, however late; what referred people ordered is in it, too."""
        counts, others = await asyncio.gather(
            self._counts_of_layers(backend),
            together(
                referrals=referrals.referrals(backend),
                funnels=behaviour_report.funnels(backend),
                boards=behaviour_report.boards(backend),
            ),
        )
        self.found["rfm"]["with_referred"] = counts.pop("rfm")
        self.found |= counts | others

    async def _counts_of_layers(self, backend: Backend) -> dict[str, Any]:
        await layer_report.build_pyramid(backend, _QUARTERS)
        counts, churned = await asyncio.gather(self._counts_at_last(backend), layer_report.churned(backend, _QUARTERS))
        return {**counts, "churned": churned}

    async def _counts_at_last(self, backend: Backend) -> dict[str, Any]:
        async def rfm() -> dict[str, Any]:
            return await report.rfm(backend, await brand.run_model(backend, brand.MODEL, CLOSED_ON, "with referred"))

        return await together(
            ingestion=report.ingestion(backend),
            identity=report.identities(backend),
            rfm=rfm(),
            pyramid=layer_report.pyramid(backend, _QUARTERS),
        )

    async def _erase(self, backend: Backend, broadcast_id: str, erasing: Erasing, story: Story) -> None:
        """Have some people erased, and see that every count of everybody is what it was: that of the runs which were made before."""

        async def counts() -> dict[str, Any]:
            some, others = await asyncio.gather(self._counts(backend, broadcast_id), self._counts_at_last(backend))
            return some | others

        before = await counts()
        now = story.days[-1].reported_at
        found = await erasing.erase(leaving(story), now, now + _UNTIL_ERASED)
        self.found["erasure"] = found | {"changed": differences(before, await counts())}

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
