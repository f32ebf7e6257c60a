"""Which worker of pytest-xdist runs which tests, and in what order.

The tests of a file go to one worker, and so do files that share a started stack, which is dear to start. What takes longest begins first,
so that no worker is left with it at the end.
"""

from collections.abc import Mapping
from typing import Final

import pytest
from xdist.scheduler import LoadFileScheduling

_FIRST: Final = ("tests/demo/test_smoke.py", "tests/faults/test_faults.py", "tests/e2e/")
_SHARING: Final[Mapping[str, str]] = {
    "tests/e2e/test_page.py": "the stack under a replay clock",
    "tests/e2e/test_unmerge.py": "the stack under a replay clock",
    "tests/e2e/test_edge.py": "the stack that takes in",
    "tests/e2e/test_wechat.py": "the stack that takes in",
}
_APART: Final = "tests/faults/test_faults.py"
"""Each of its tests starts what it needs."""


class ByStack(LoadFileScheduling):  # type: ignore[misc]  # it has no types
    """By file, but for those that have a stack in common or none at all."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return nodeid if file == _APART else _SHARING.get(file, file)


def longest_first(items: list[pytest.Item]) -> None:
    """Put what takes long at the beginning, in place, and those that share a stack side by side; all else stays in its order."""

    def rank(item: pytest.Item) -> tuple[int, str]:
        file = item.nodeid.partition("::")[0]
        place = next((place for place, it in enumerate(_FIRST) if file.startswith(it)), len(_FIRST))
        return place, _SHARING.get(file, "")

    items.sort(key=rank)
