"""The main job from end to end with one customer in ten: real services, real PostgreSQL, real NATS."""

import os
import subprocess
import sys

import pytest

from demo.dataset import Order, first_days
from demo.people import people
from demo.prospects import prospects
from demo.trail import trail
from deploy.local.contracts import ROOT
from tests.demo.judging import Findings, Story, judge
from tests.places import place


@pytest.mark.timeout(600)
def test_the_main_job_holds_what_it_promises(orders: list[Order]) -> None:
    with place("demo") as folder:
        path = os.pathsep.join((str(ROOT), str(ROOT / "gen")))
        command = [sys.executable, "-m", "demo", "--smoke", "--into", str(folder)]
        done = subprocess.run(
            command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        told = [it for it in orders if it.customer.endswith("1")]
        everybody = people(first_days(told))
        strangers = [it for it in prospects() if it.number % 10 == 1]
        story = Story(told, everybody, strangers, trail(everybody, told, strangers))
        judge(Findings.read(folder, story))
