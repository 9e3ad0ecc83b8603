"""`python tests/clients/install.py` fetches the programs that these tests run; pytest itself fetches nothing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

REQUIREMENTS = Path(__file__).with_name("bridge.txt")
NAMES = ("python3.14", "python3.13", "python3.12", "python3")
# What a virtual environment with pip is made of; Debian ships ensurepip apart.
SUITS = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 12))"
Step = Callable[[Path], str]
"""Given this folder it says what it did, or why that cannot be done here; raises where it should have been done."""


def openai_node(folder: Path) -> str:
    """OpenAI's client for Node, in the version of the lock file."""
    npm = shutil.which("npm")
    if npm is None:
        return "OpenAI for Node: none, npm is not installed; apt-get install nodejs npm"
    into = folder / "openai_node"
    # It says that it wants Node 22; what is called here works from 18 on, and Debian has nothing newer.
    command = (npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    subprocess.run(command, cwd=into, check=True, stdout=subprocess.DEVNULL)
    return f"OpenAI for Node: {into / 'node_modules'}"


def bridge(folder: Path) -> str:
    """wyoming_openai, in the version of bridge.txt, in an environment of its own: it wants a newer Python."""
    into = folder / ".bridge"
    python = into / "bin" / "python"
    if not _suits(python):
        made_with = next(filter(_suits, _candidates()), None)
        if made_with is None:
            return "wyoming_openai: none, it needs Python 3.12 or newer; apt-get install python3 python3-venv"
        _run(made_with, "-m", "venv", "--clear", into)
    _run(python, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--requirement", REQUIREMENTS)
    return f"wyoming_openai: {into}"


def _candidates() -> Iterator[Path]:
    yield from (Path(found) for name in NAMES if (found := shutil.which(name)))
    # pyenv's shims are on PATH for versions, too, that it was not told to use; those only say so.
    root = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(root.glob("versions/3.*/bin/python3"), reverse=True)


def _suits(python: Path) -> bool:
    try:
        return subprocess.run([python, "-c", SUITS], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _run(*command: str | Path) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


STEPS: tuple[Step, ...] = (openai_node, bridge)


def main(folder: Path, steps: Sequence[Step] = STEPS) -> int:
    """Take every step, also after one that failed; 1 where one did."""
    failed = 0
    for step in steps:
        try:
            print(step(folder), flush=True)
        except (OSError, subprocess.SubprocessError) as error:
            print(f"{step.__name__} failed: {error}", file=sys.stderr, flush=True)
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent))
