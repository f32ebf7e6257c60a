"""Every fault in its small form: nothing is lost or done twice, and what is known to be wrong is caught by the same judge.

Bars of time are those of `make faults` on a quiet machine; here they are wide, since tests may share theirs.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.contracts import ROOT
from faults.__main__ import ALL, DIFFERENTIAL, DRILLS, FAULTS, _parsed
from tests.places import folder_of_servers

PATIENCE = 10
"""How many times as long as its bar anything may take here."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", ALL)
def test_a_fault_loses_and_doubles_nothing_and_its_negative_control_fails(name: str, tmp_path: Path) -> None:
    """In a process of its own, as `make faults` makes it: what is started there is stopped with it."""
    result = tmp_path / "faults.json"
    command = [sys.executable, "-m", "faults", "--small", "--result", str(result), name]
    environment = {**os.environ, "TMPDIR": str(folder_of_servers())}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL) as running:
        try:
            running.wait(580)
        finally:
            running.terminate()
    found = json.loads(result.read_text())["faults"][name]
    assert (found["lost"], found["doubled"], found["problems"]) == (0, 0, [])
    assert found["acknowledged"] > 0
    assert found["control"]["fails"], found["control"]["found"]
    assert (found["worst"] or 0) <= PATIENCE * found["bar"]


def test_without_names_all_faults_are_made() -> None:
    assert _parsed([]).name == []
    assert len(ALL) == len(FAULTS) + len(DIFFERENTIAL) + len(DRILLS)
    assert _parsed(["kills", "gaps"]).name == ["kills", "gaps"]
    with pytest.raises(SystemExit):
        _parsed(["lightning"])
