"""Refuse changes of the contracts that break who already uses them; run by `make lint`.

Compares proto/ with the last commit this work has in common with main, which on main itself is the last commit. The environment
variable BREAKING_BASE names another one. A first commit has nothing to break.
"""

import io
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUF = Path(sysconfig.get_path("scripts")) / "buf"
CONTRACTS = ("buf.yaml", "proto", "third_party")
GOOGLEAPIS = Path("gen/googleapis")


def main() -> None:
    base = os.environ.get("BREAKING_BASE") or common_commit()
    if base is None or not holds_contracts(base):
        print("Contracts: no earlier ones to compare with.")
        return
    with tempfile.TemporaryDirectory() as folder:
        before = Path(folder)
        check_out(base, before)
        shutil.copytree(ROOT / GOOGLEAPIS, before / GOOGLEAPIS)
        sys.exit(subprocess.run([str(BUF), "breaking", "--against", folder], cwd=ROOT, check=False).returncode)


def common_commit() -> str | None:
    """The commit from which this work left main; None before the first commit."""
    for main_branch in ("origin/main", "main"):
        found = git("merge-base", "HEAD", main_branch)
        if found.returncode == 0:
            return found.stdout.decode().strip()
    return "HEAD" if git("rev-parse", "--verify", "HEAD").returncode == 0 else None


def holds_contracts(commit: str) -> bool:
    return all(git("cat-file", "-e", f"{commit}:{path}").returncode == 0 for path in CONTRACTS)


def check_out(commit: str, target: Path) -> None:
    """Write the contracts as of `commit` into the folder `target`."""
    archive = git("archive", "--format=tar", commit, "--", *CONTRACTS)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(target, filter="data")


def git(*arguments: str) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=False)  # noqa: S607 (git is on the PATH)


if __name__ == "__main__":
    main()
