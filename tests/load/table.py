"""The table of README.md: `python tests/load/table.py http://127.0.0.1:8000`, beside a server that runs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

USERS = (1, 2, 4, 8, 16, 32)
SECONDS = 30
USER_CLASS = "Sentences"
COLUMNS = ("users", "requests/s", "audio s/s", "first audio p50", "p95", "refused (429)", "failed")


def main(host: str, user_class: str = USER_CLASS, seconds: str = str(SECONDS)) -> None:
    """One run of locust for each number of users, and a row of Markdown for each run."""
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS), flush=True)
    for users in USERS:
        print(row(measured(host, user_class, users, seconds)), flush=True)


def measured(host: str, user_class: str, users: int, seconds: str) -> dict[str, Any]:
    """What locustfile.py tells of one run."""
    locust = [sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("locustfile.py")), "--headless"]
    asked = [
        "--host",
        host,
        "-u",
        str(users),
        "-r",
        str(users),
        "-t",
        f"{seconds}s",
        "--stop-timeout",
        "60",
        user_class,
    ]
    # Its status is 1 where a request failed, which the row tells.
    done = subprocess.run([*locust, *asked, "--only-summary"], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"users"')]
    if not lines:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def row(found: dict[str, Any]) -> str:
    """Of the table."""
    rates = (f"{found['requests_per_s']:.2f}", f"{found['audio_s_per_s']:.2f}")
    firsts = (f"{found[f'first_audio_ms_{share}']} ms" for share in ("p50", "p95"))
    cells = (found["users"], *rates, *firsts, found["refused"], found["failed"])
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main(*sys.argv[1:])
