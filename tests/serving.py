"""Servers of the command line, which tests kill."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

JOB_SECONDS = 900.0
ENDED = ("succeeded", "failed", "cancelled")


class Server:
    """`more-server serve` over a data directory; it can be started again after each death."""

    def __init__(self, data_dir: Path, *arguments: str, **settings: str) -> None:
        """arguments: of `serve`. settings: by the names of their variables without MORE_, such as DATABASE."""
        self._arguments = arguments
        self._environment = os.environ | {
            "MORE_DATA_DIR": str(data_dir),
            "MORE_ENGINE__DEVICE": "cpu",
            "MORE_ENGINE__THREADS": "1",
            "MORE_PREPARE_VOICES": "false",
            "MORE_PLUGINS__MORE_WYOMING__ENABLED": "false",
            "OMP_NUM_THREADS": "1",
        }
        self._environment |= {f"MORE_{name}": value for name, value in settings.items()}
        self._log = data_dir.parent / f"server-{id(self)}.log"
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "more_server.cli", "serve", "--port", "0", *self._arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self._environment,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        address = re.search(r"MORE is ready: (http://127\.0\.0\.1:\d+)/", line)
        assert address is not None, line + self.log()
        self.http = httpx.Client(base_url=address.group(1), timeout=60)

    @property
    def pid(self) -> int:
        return self._process.pid

    def log(self) -> str:
        """What it has written to standard error, over all its lives."""
        return self._log.read_text("utf-8")

    def kill(self) -> None:
        self.http.close()
        self._process.kill()
        self._process.communicate()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def ended(self) -> int:
        """What it ended with, by itself."""
        return self._process.wait(60)

    def stop(self) -> None:
        """Nothing where it was killed."""
        self.http.close()
        self._process.terminate()
        self._process.communicate(timeout=60)

    def asked(self, **body: Any) -> str:
        """The id of a new job."""
        answer = self.http.post("/v1/jobs", json=body)
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.http.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        return found

    def until(self, job_id: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        last = time.monotonic() + JOB_SECONDS
        while not reached(job := self.job(job_id)):
            assert job["status"] not in ENDED, job
            assert time.monotonic() < last, job
            time.sleep(0.2)
        return job

    def done(self, job_id: str) -> dict[str, Any]:
        job = self.until(job_id, lambda job: job["status"] in ENDED)
        assert job["status"] == "succeeded", job
        return job

    def results(self, job: dict[str, Any]) -> dict[str, bytes]:
        """The files of a job, by name."""
        return {one["name"]: self.http.get(one["url"]).raise_for_status().content for one in job["results"]}

    def speak(self, **asked: Any) -> httpx.Response:
        body = {"input": "The bread is still warm.", "voice": "linden", "response_format": "wav", "seed": 5} | asked
        return self.http.post("/v1/audio/speech", json=body)
