"""A book is the same one whatever died while it was spoken: real servers, killed with -9, over SQLite and Postgres."""

import base64
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from more_server.narration.speaking import FOLDER
from tests.jobs.postgres import make_database, postgres
from tests.narration.epubs import epub, xhtml
from tests.serving import JOB_SECONDS, Server

__all__ = ["postgres"]
SENTENCES = (
    "The rain had stopped before the first of them came down to the harbour.",
    "Nobody had told her that the boat would leave so early in the year.",
    "He put the lamp on the table and waited for an answer.",
    "There was only the sound of the water, and far away a bell.",
    "Nobody answered, but the door was no longer shut.",
    "Early in the morning the boats came back without her.",
)
CHAPTERS = {
    f"{number}.xhtml": xhtml(f"<h1>Part {number}</h1>" + "".join(f"<p>{one}</p>" for one in SENTENCES))
    for number in (1, 2)
}
PASSAGES = 14
"""Two headings and 12 paragraphs, each of them a passage of its own."""
ASKED = {
    "kind": "speech",
    "document": base64.b64encode(epub(CHAPTERS)).decode(),
    "voice": "linden",
    "seed": 7,
    "response_format": "wav",
    "subtitles": ["srt"],
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the book."""
    server = Server(tmp_path_factory.mktemp("undisturbed") / "data")
    try:
        files = server.results(server.done(server.asked(**ASKED)))
    finally:
        server.stop()
    assert sorted(name.rpartition(".")[2] for name in files) == ["srt", "wav"]
    assert files["The Book.srt"].count(b"-->") == PASSAGES
    return files


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts servers on one data directory: `start(DATABASE=…)`."""
    made = []

    def one(**settings: str) -> Server:
        made.append(Server(tmp_path / "data", **settings))
        return made[-1]

    yield one
    for server in made:
        server.stop()


def spoken(tmp_path: Path, job: str) -> dict[str, int]:
    """Passages that are kept, and when they were written, nanoseconds."""
    return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "data/jobs" / job / FOLDER).glob("*.pcm")}


def until_spoken(tmp_path: Path, job: str, passages: int) -> None:
    last = time.monotonic() + JOB_SECONDS
    while len(spoken(tmp_path, job)) < passages:
        assert time.monotonic() < last
        time.sleep(0.02)


def test_a_server_that_is_killed_twice(
    undisturbed: dict[str, bytes], start: Callable[..., Server], tmp_path: Path
) -> None:
    server = start()
    job = server.asked(**ASKED)
    kept: dict[str, int] = {}
    for passages in (3, 8):
        until_spoken(tmp_path, job, passages)
        server.kill()
        now = spoken(tmp_path, job)
        # The last ones of the life before may be written and not be known as such: as many as there are slots.
        assert sum(now[name] != written for name, written in kept.items()) <= 8
        kept = now
        server.start()
    assert server.results(server.done(job)) == undisturbed
    assert server.log().count("job_begins") == 3


def test_of_two_workers_on_postgres_one_is_killed(
    undisturbed: dict[str, bytes], start: Callable[..., Server], tmp_path: Path, postgres: str
) -> None:
    database = make_database(postgres, "books")
    one, other = start(DATABASE=database), start(DATABASE=database)
    job = one.asked(**ASKED)
    until_spoken(tmp_path, job, 3)
    working, waiting = (one, other) if "job_begins" in one.log() else (other, one)
    assert "job_begins" not in waiting.log()
    working.kill()
    assert waiting.results(waiting.done(job)) == undisturbed
    assert waiting.log().count("job_begins") == 1
