"""The lock files pin every dependency by hash, agree with one another, and name no place that anything comes from."""

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.lock"))
PLACE = re.compile(r"://|--(index|extra-index|find-links|trusted-host)|^\s*#.*(?<![\w.-])/|@ ", re.MULTILINE)
PIN = re.compile(
    r"^(?P<name>[\w.-]+)==(?P<version>\S+)(?: ; (?P<marker>.*?))? \\\n(?P<hashes>(?:    --hash=\S+(?: \\)?\n)+)",
    re.MULTILINE,
)


def pins(lock: Path) -> set[tuple[str, str, str]]:
    """(name, version, hashes) of every line; a name stands twice when its version differs by platform."""
    return {(pin["name"], pin["version"], pin["hashes"]) for pin in PIN.finditer(lock.read_text())}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda it: it.name)
def test_a_lock_names_no_place(lock: Path) -> None:
    assert not PLACE.search(lock.read_text())


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://packages.example/simple",
        "--find-links /somewhere",
        "#    uv pip compile /home/somebody/run.in",
        "six @ file:///somewhere/six.whl",
    ],
)
def test_a_place_in_a_lock_is_found(line: str) -> None:
    assert PLACE.search(f"attrs==1\n{line}\n")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda it: it.name)
def test_every_requirement_of_a_lock_is_pinned_by_hash(lock: Path) -> None:
    requirements = re.findall(r"^[\w.-]+", lock.read_text(), re.MULTILINE)

    assert len(requirements) == len(PIN.findall(lock.read_text())) > 0


def test_each_lock_holds_the_smaller_one_unchanged() -> None:
    run, demo, dev = (pins(REQUIREMENTS / f"{name}.lock") for name in ("run", "demo", "dev"))

    assert run < demo < dev
