"""What `more-server bench` runs, as a script: one argument, its options as JSON (tests/bench/run.py)."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # A script's own folder stands first on the path, where the checkout belongs.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    from tests.bench.run import main

    main(sys.argv[1])
