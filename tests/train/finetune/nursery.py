"""A process that has loaded all that training needs, and forks one for each command: loading takes ten seconds."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[3]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": f"{ROOT}:{ROOT / 'train'}",
    "OMP_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
    "NO_COLOR": "1",
}


def serve() -> None:
    """A line of standard input: processes to fork, each with its arguments and variables; their ids and ends told."""
    import more_train.finetune
    import more_train.samples
    import torch
    from more_train.__main__ import main

    from more_server.testing import tiny_config
    from more_server.xtts.load import build

    torch.set_num_threads(1)
    build(tiny_config())
    assert more_train.finetune
    for line in sys.stdin:
        children = []
        for arguments, variables in json.loads(line):
            child = os.fork()
            if not child:
                os.environ.update(variables)
                try:
                    main(arguments)
                except SystemExit as end:
                    sys.stderr.flush()
                    os._exit(end.code if isinstance(end.code, int) else 0)
                except BaseException as error:  # noqa: BLE001 - the child of a fork ends here, whatever it was
                    print(f"{error!r}", file=sys.stderr, flush=True)
                    os._exit(1)
                os._exit(0)
            children.append(child)
        print(json.dumps(children), flush=True)
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]), flush=True)


class Nursery:
    """The tests' end of it."""

    def __init__(self, process: "subprocess.Popen[str]", said: IO[str]) -> None:
        self._process, self._said = process, said

    def begin(self, *commands: list[str], together: bool = False) -> list[int]:
        """Start a command, or several; together: as torchrun starts them. Their process ids."""
        variables = [_variables(rank, len(commands)) if together else {} for rank in range(len(commands))]
        if together:
            port = _free_port()
            variables = [one | {"MASTER_PORT": port} for one in variables]
        asked = json.dumps(list(zip(commands, variables, strict=True)))
        self._process.stdin.write(asked + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def ends(self) -> list[int]:
        """Wait for them all; their exit statuses, negative for a signal that killed them."""
        return json.loads(self._process.stdout.readline())

    def said(self) -> str:
        """All that was written to standard error so far."""
        return Path(self._said.name).read_text()


def _variables(rank: int, size: int) -> dict[str, str]:
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1",
        "TORCHELASTIC_RUN_ID": "test",
    }


def _free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


@contextmanager
def opened(folder: Path) -> Iterator[Nursery]:
    with (
        (folder / "said").open("w") as said,
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.finetune.nursery"],
            cwd=ROOT,
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as process,
    ):
        yield Nursery(process, said)
        process.stdin.close()


if __name__ == "__main__":
    serve()
