"""A test that takes too long is ended, and one that is over in time is not."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Queue
from types import SimpleNamespace

import pytest

from deploy.local.contracts import ROOT
from tests.time_limit import Watch

Ended = Queue[str]


@pytest.fixture
def ended() -> Ended:
    return Queue()


@pytest.fixture
def watch(ended: Ended) -> Iterator[Watch]:
    found = Watch(lambda item, _: ended.put(item), look_seconds=0.005)
    yield found
    found.close()


def test_one_that_takes_too_long_is_ended_once(watch: Watch, ended: Ended) -> None:
    watch.begin("quick", SimpleNamespace(timeout=60))
    watch.finish()
    watch.begin("slow", SimpleNamespace(timeout=0.01))
    assert ended.get(timeout=10) == "slow"
    with pytest.raises(Empty):
        ended.get(timeout=0.05)


def test_one_that_was_over_in_time_is_left_alone(watch: Watch, ended: Ended) -> None:
    watch.begin("quick", SimpleNamespace(timeout=0.03))
    watch.finish()
    with pytest.raises(Empty):
        ended.get(timeout=0.1)


SLOW = """\
import threading, time

def test_slow():
    assert {it.name for it in threading.enumerate()} == {"MainThread", "time limit"}
    time.sleep(60)
"""


def test_pytest_goes_by_it(tmp_path: Path) -> None:
    """With the settings of this repository, in a process that ends as those of pytest-timeout do: at once, with the stacks."""
    (tmp_path / "test_slow.py").write_text(SLOW)
    (tmp_path / "conftest.py").write_text(
        "from tests.conftest import pytest_timeout_cancel_timer, pytest_timeout_set_timer"
    )
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "-n0"]
    done = subprocess.run(
        [*command, "--timeout=0.2", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert "time.sleep(60)" in done.stdout
    assert "Timeout" in done.stdout
