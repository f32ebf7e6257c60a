"""The version before this one, taken out of the history and ready to run."""

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from deploy.local.contracts import ROOT
from proto.check_breaking import common_commit, git

RUNS = ("chassis", "services", "proto", "third_party")


class NoHistory(Exception):
    """There is nothing to take it from."""


def last_version(folder: Path) -> str:
    """Write it into the new `folder`, with the code of its contracts; the commit that it is.

    It is what this work began with: the last commit in common with main, and on main itself the one before the last.
    Both versions run on the packages that are installed.
    """
    commit = _commit()
    archive = git("archive", "--format=tar", commit, "--", *RUNS)
    if archive.returncode:
        raise NoHistory(f"{commit} cannot be taken from the history: {archive.stderr.decode()}")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    shutil.copytree(ROOT / "gen", folder / "gen")  # generated anew only where a contract is another
    subprocess.run([sys.executable, "proto/generate.py"], cwd=folder, check=True)
    return commit


def _commit() -> str:
    common, head, before = (_named(it) for it in (common_commit() or "", "HEAD", "HEAD^"))
    found = before if common == head else common
    if not found:
        raise NoHistory("this copy of the repository holds no earlier commit (a clone of depth 1, or no Git)")
    return found


def _named(commit: str) -> str:
    found = git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
    return found.stdout.decode().strip()
