"""A cluster of two nodes on one machine, as its command line starts and ends it."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Container
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import httpx

from more_server.cluster.front import Front, ReplicaRow
from more_server.cluster.node import read_token, token_file
from more_server.settings import Settings

FIRST, SECOND = "127.0.0.1", "127.0.0.2"
PORT = 8000
BASE_URL = f"http://127.0.0.1:{PORT}"
SECONDS = 300.0
"""For whatever is waited for, on cores that others use too."""
TEXT = "The bread is still warm, and the river runs slowly past the old mill. " * 12
"""Most of a minute of speech, of which nano makes several seconds in one."""


class Cluster:
    """Nodes by their addresses, and the application on them.

    Each has a data directory of its own, as a machine has. They share a database, a folder and a bucket.
    """

    def __init__(self, folder: Path, database: str) -> None:
        self.folder = folder
        self.settings = Settings(data_dir=folder / FIRST / "data", database=database)
        """Of the first node, and of who deploys from there."""
        self.temp_dir = Path(mkdtemp(prefix="more-ray-"))  # short: sockets in it have names of 107 letters at most
        self.seconds: dict[str, float] = {}
        """How long things took."""
        self._nodes: dict[str, subprocess.Popen[str]] = {}
        self._environment = os.environ | {
            "HOME": str(folder),
            "MORE_DATA_DIR": str(self.settings.data_dir),
            "MORE_DATABASE": database,
            "MORE_SHARED_DIR": str(folder / "shared"),
            "MORE_VOICE_STORE": "objects",
            "MORE_PLUGINS__MORE_VOICE_OBJECT_STORE__ENABLED": "true",
            "MORE_PLUGINS__MORE_VOICE_OBJECT_STORE__URL": f"file://{folder / 'bucket'}",
            "MORE_PLUGINS__MORE_VOICE_OBJECT_STORE__REFRESH_SECONDS": "1",
            "MORE_ENGINE__DEVICE": "cpu",
            "MORE_PREPARE_VOICES": "false",
        }
        (folder / "bucket").mkdir()

    def up(self, host: str, more_toml: str = "") -> None:
        """Start a node with one core; the first one before the others."""
        home = self.folder / host
        token = token_file(Settings(data_dir=home / "data"))
        token.parent.mkdir(parents=True)
        if host != FIRST:
            shutil.copy2(token_file(self.settings), token)
        (home / "more.toml").write_text(more_toml)
        first = ["--temp-dir", str(self.temp_dir)] if host == FIRST else ["--join", f"{FIRST}:6379"]
        began = time.monotonic()
        with (home / "errors.txt").open("wb") as errors:
            node = subprocess.Popen(
                [*COMMAND, "up", "--host", host, "--cpus", "1", "--drain", "300", *first],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=home,
                env=self._environment | {"MORE_DATA_DIR": str(home / "data")},
            )
        self._nodes[host] = node
        assert node.stdout is not None
        line = node.stdout.readline()
        assert "is up" in line or "has joined" in line, line + (home / "errors.txt").read_text()
        self.seconds[f"node {host}"] = time.monotonic() - began

    def end(self, host: str) -> int:
        """End a node in order; its status."""
        node = self._nodes.pop(host)
        node.terminate()
        status = node.wait(SECONDS)
        node.communicate()
        return status

    def run(self, *arguments: str, status: int = 0) -> str:
        """What a command of `more-server cluster` says, on either channel."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == status, done.stdout + done.stderr + self.log()
        return done.stdout + done.stderr

    def stop(self) -> None:
        """End what still runs, the first node last."""
        try:
            if FIRST in self._nodes:
                self.run("down")  # else each node waits for its replica to come up elsewhere
        finally:
            for host in sorted(self._nodes, reverse=True):
                self.end(host)
            shutil.rmtree(self.temp_dir, ignore_errors=True)

    # -- what is there

    @property
    def front(self) -> Front:
        return Front(f"http://{FIRST}:8265", read_token(self.settings))

    def replicas(self) -> dict[str, ReplicaRow]:
        """Those that take requests, by name."""
        return {one.replica_id: one for one in self.front.status().replicas if one.state == "RUNNING"}

    def replaced(self, pid: int) -> None:
        """Wait until another replica is there for one whose process was killed; Serve lists it until it looks."""
        self.until(lambda: len(found := self.replicas()) == 2 and pid not in {one.pid for one in found.values()})

    def until(self, what: Callable[[], object]) -> None:
        last = time.monotonic() + SECONDS
        while not what():
            assert time.monotonic() < last, self.front.status()
            time.sleep(0.2)

    def logs(self) -> dict[int, str]:
        """What the processes of Ray's workers have written, by process."""
        found = (self.temp_dir / "session_latest" / "logs").glob("worker-*.err")
        return {int(path.stem.rpartition("-")[2]): path.read_text("utf-8", "replace") for path in found}

    def log(self) -> str:
        return "\n".join(self.logs().values())[-6000:]


class Stream(threading.Thread):
    """Somebody who listens to a long text."""

    def __init__(self, replicas: Container[str] | None = None, **asked: Any) -> None:
        """replicas: who leaves at once where it is none of these that answers; None: any will do."""
        super().__init__()
        self._replicas = replicas
        self._asked = {"input": TEXT, "voice": "linden", "response_format": "pcm", "seed": 1} | asked
        self.replica = ""
        """Whose answer it is; empty: none has begun."""
        self.bytes = 0
        self.error: Exception | None = None
        self.begun = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            with httpx.stream("POST", f"{BASE_URL}/v1/audio/speech", json=self._asked, timeout=SECONDS) as answer:
                answer.raise_for_status()
                self.replica = answer.headers["x-replica"]
                if self._replicas is not None and self.replica not in self._replicas:
                    return
                for chunk in answer.iter_raw():
                    self.bytes += len(chunk)
                    self.begun.set()
        except httpx.HTTPError as error:
            self.error = error
        finally:
            self.begun.set()

    def ended(self) -> "Stream":
        self.join(SECONDS)
        assert not self.is_alive()
        return self


def speak(**asked: Any) -> httpx.Response:
    """A short sentence."""
    body = {"input": "The bread is still warm.", "voice": "linden", "response_format": "wav", "seed": 5} | asked
    return httpx.post(f"{BASE_URL}/v1/audio/speech", json=body, timeout=SECONDS)


def on_both(replicas: dict[str, ReplicaRow], each: int = 2) -> list[Stream]:
    """Streams that have begun, so many of each replica."""
    streams: list[Stream] = []
    for _ in range(100):
        spoken = Counter(one.replica for one in streams)
        lacking = [name for name in replicas if spoken[name] < each]
        if not lacking:
            return streams
        # Both nodes' proxies listen on one address: the kernel draws lots for each connection, and each proxy asks its
        # own replica first. Who goes on although its replica has enough may be the ninth there, which is refused.
        stream = Stream(lacking)
        assert stream.begun.wait(SECONDS)
        assert stream.error is None, stream.error
        if stream.replica in lacking:
            streams.append(stream)
    raise AssertionError(spoken)


def job_of(line: str) -> str:
    """The id in a line of the log that tells that a job begins; else nothing."""
    found = re.search(r"job_[0-9a-f]{16}", line) if '"job_begins"' in line else None
    return found[0] if found else ""


COMMAND = [sys.executable, "-m", "more_server.cli", "cluster"]
