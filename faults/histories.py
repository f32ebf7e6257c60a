"""Histories of identities: calls, links, merges, their undoing and erasures at random; the customers have to be what the record says.

The steps and the oracle, a plain union-find over the record, are those of the tests; here there are many more of them, in as many
processes as there are processors.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

from faults.verdict import Control, Scale, Verdict
from services.identity.domain.customer import Customer
from tests.identity.histories import careless, wrong_histories

HISTORIES: Final = {Scale.FULL: 50_000, Scale.SMALL: 200}
CONTROLS: Final = 200
_PORTION: Final = 100


def run(scale: Scale) -> Verdict:
    portions = [range(first, first + _PORTION) for first in range(0, HISTORIES[scale], _PORTION)]
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as processes:
        wrong = [it for found in processes.map(wrong_histories, portions) for it in found]
        planted = processes.submit(_with_the_bug, range(CONTROLS)).result()
    found = f"{len(planted)} of {CONTROLS} histories are wrong"
    return Verdict(
        fault="histories",
        done=f"{HISTORIES[scale]:,} random histories of identities against a union-find over the record",
        acknowledged=HISTORIES[scale],
        lost=0,
        doubled=0,
        control=Control("a merge taken back leaves what the other had brought", found, fails=bool(planted)),
        problems=wrong[:5],
        figures={"histories that are wrong": len(wrong)},
    )


def _with_the_bug(seeds: Sequence[int]) -> list[str]:
    """In a process of its own, which has the bug from then on."""
    exact = Customer.belongings_of
    Customer.belongings_of = careless(exact)  # type: ignore[method-assign]
    try:
        return wrong_histories(seeds)
    finally:
        Customer.belongings_of = exact  # type: ignore[method-assign]
