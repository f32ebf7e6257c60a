"""Build the wheel of `scrm-client` with the contracts as they are now: `PYTHONPATH=.:gen python -m clients.python_wheel [folder]`."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent / "python"
ROOT = HERE.parents[1]
GENERATED = ("scrm", "buf")


def build(target: Path) -> Path:
    """The wheel, made in the folder `target`. Needs gen/, which `make proto` makes."""
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(scratch) / "source"
        shutil.copytree(HERE, source, ignore=shutil.ignore_patterns("__pycache__", "examples"))
        for name in GENERATED:
            shutil.copytree(ROOT / "gen" / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        made = Path(scratch) / "wheel"
        uv = str(Path(sys.executable).with_name("uv"))  # with the setuptools that the lock file pins
        command = [uv, "build", "--wheel", "--quiet", "--no-build-isolation", "--python", sys.executable]
        subprocess.run([*command, "--out-dir", made, source], check=True)
        (wheel,) = made.glob("*.whl")
        return Path(shutil.copy(wheel, target))


if __name__ == "__main__":
    print(build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "clients"))
