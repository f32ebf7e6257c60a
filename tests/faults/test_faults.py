"""Every fault in its small form: nothing is lost or done twice, and what is known to be wrong is caught by the same judge.

Bars of time are those of `make faults` on a quiet machine; here they are wide, since tests may share theirs.
"""

import pytest

from faults.__main__ import FAULTS
from faults.verdict import Scale

PATIENCE = 10
"""How many times as long as its bar anything may take here."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_loses_and_doubles_nothing_and_its_negative_control_fails(name: str) -> None:
    verdict = FAULTS[name](Scale.SMALL)
    assert (verdict.lost, verdict.doubled, list(verdict.problems)) == (0, 0, [])
    assert verdict.acknowledged > 0
    assert verdict.control.fails, verdict.control.found
    assert verdict.worst is None or verdict.worst <= PATIENCE * verdict.bar
