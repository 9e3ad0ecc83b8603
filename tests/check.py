"""The one check command: `python tests/check.py [--fast] [arguments of pytest]`; --fast leaves pytest out."""

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def steps(arguments: list[str]) -> Iterator[tuple[str, ...]]:
    """Modules to run and their arguments, the quick ones first."""
    yield ("ruff", "check", ".")
    yield ("ruff", "format", "--check", ".")
    yield ("mypy",)
    for readme in ("README.md", "plugins/README.md"):
        if (ROOT / readme).is_file():
            yield ("cogapp", "--check", readme)
    if "--fast" not in arguments:
        yield ("pytest", *arguments)


def main(arguments: list[str]) -> int:
    """Run every step in the repository's root; the status of the first that fails, else 0."""
    for step in steps(arguments):
        print(f"· {shlex.join(step)}", flush=True)
        began = time.monotonic()
        # As modules of this interpreter, so that no other installation answers.
        status = subprocess.run([sys.executable, "-m", *step], cwd=ROOT, check=False).returncode
        if status:
            print(f"✗ {step[0]} ended with status {status}", flush=True)
            return status
        print(f"✓ {step[0]}, {time.monotonic() - began:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
