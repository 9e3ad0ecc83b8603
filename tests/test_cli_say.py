"""`more-server say` between other programs: text as it is written, audio as it is made."""

import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.test_cli import More
from tests.web.audio import decoded

FIRST = "Café weather it is, on such a nice day. We are going"
REST = " for a long walk in the park. And then we will all come home for dinner."


@pytest.fixture
def more(tmp_path: Path) -> More:
    return More(tmp_path)


@contextmanager
def saying(more: More, *arguments: str, stdout: int | IO[Any] = subprocess.PIPE) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-m", "more_server.cli", "say", *arguments],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.PIPE,
        cwd=more.data_dir,
        env=more.environment(MORE_ENGINE__THREADS="1"),
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_it_speaks_while_another_program_goes_on_writing(more: More) -> None:
    with saying(more, "-", "-o", "-") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for half in (FIRST.encode()[:4], FIRST.encode()[4:]):  # of é
            process.stdin.write(half)
            process.stdin.flush()
        audio = process.stdout.read(44 + 4800)  # it would wait for ever, were it for the end of the text
        assert audio[:4] == b"RIFF"
        process.stdin.write(REST.encode())
        process.stdin.close()
        audio += process.stdout.read()
        assert process.stderr is not None
        told = process.stderr.read().decode()
        assert process.wait(60) == 0, told
    samples, rate = decoded(audio, "wav")
    assert 4 < len(samples) / rate < 16
    assert told.startswith("standard output: ")
    assert "by Linden" in told


def test_a_format_that_no_name_tells(more: More) -> None:
    with saying(more, "The door is open now.", "-o", "-", "--format", "flac") as process:
        audio, told = process.communicate()
    assert process.returncode == 0, told.decode()
    assert len(decoded(audio, "flac")[0]) > 12_000


def test_nothing_to_say(more: More) -> None:
    done = more("say", "-", "-o", "out.wav")
    assert done.returncode == 1
    assert "no letter and no digit" in done.stderr
    assert not (more.data_dir / "out.wav").exists()


def test_a_terminal_is_not_sent_audio(more: More) -> None:
    ours, theirs = pty.openpty()
    with saying(more, "Hello.", "-o", "-", stdout=theirs) as process:
        os.close(theirs)
        _, told = process.communicate()
    os.close(ours)
    assert process.returncode == 1
    assert "audio is nothing for a terminal" in told.decode()


def test_who_takes_the_audio_may_go(more: More) -> None:
    with saying(more, " ".join([FIRST] * 40), "-o", "-") as process:
        assert process.stdout is not None
        assert process.stdout.read(4) == b"RIFF"
        process.stdout.close()
        assert process.stderr is not None
        told = process.stderr.read().decode()
        assert process.wait(60) == 1
    assert told == "more-server: who took the audio on standard output has gone\n"
