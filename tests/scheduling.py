"""Which worker of pytest-xdist runs which tests, and in what order.

The tests of a file go to one worker, and so do files that share a started stack, which is dear to start. What takes longest begins first,
so that no worker is left with it at the end, and what is made of many processes goes to half of the workers: it keeps more processors
busy than one, or waits for its processes, and the tests of the others fill what it leaves.
"""

from collections.abc import Mapping
from typing import Any, Final

import pytest
from xdist.scheduler import LoadFileScheduling

_FIRST: Final = ("tests/demo/test_smoke.py", "tests/e2e/", "tests/faults/test_faults.py")
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

    def _assign_work_unit(self, node: Any) -> None:
        others = sum(self._starts_processes(it) for it in self.nodes if it is not node)
        wanted = others < max(1, len(self.nodes) // 2)
        found = next((it for it in self.workqueue if _of_many_processes(it) is wanted), None)
        if found is not None:
            self.workqueue.move_to_end(found, last=False)
        super()._assign_work_unit(node)

    def _starts_processes(self, node: Any) -> bool:
        work = self.assigned_work[node].items()
        return any(_of_many_processes(scope) and not all(done.values()) for scope, done in work)


def _of_many_processes(scope: str) -> bool:
    return scope.startswith(_FIRST) or scope in _SHARING.values()


def longest_first(items: list[pytest.Item]) -> None:
    """Put what takes long at the beginning, in place, and those that share a stack side by side; all else stays in its order."""

    def rank(item: pytest.Item) -> tuple[int, str]:
        file = item.nodeid.partition("::")[0]
        place = next((place for place, it in enumerate(_FIRST) if file.startswith(it)), len(_FIRST))
        return place, _SHARING.get(file, "")

    items.sort(key=rank)
