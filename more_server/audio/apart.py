"""Uploads decoded in a process of their own: what a file does to FFmpeg there, it does to nothing else.

The process gets the bytes on its standard input. On its standard output it says that it is ready, then gives a line of
JSON and the samples. It has nothing of the server's environment, and can open neither file nor connection: what it has
open when the bytes come is all that it will ever have. It is no prison: it is the server's own user, and may send it
signals.

It costs 0.5 s of one core a clip, nearly all of it to import numpy and av, which is little beside what a new voice
costs anyhow. What was taken so is decoded by the server itself when it reports on it and speaks with it.
"""

import contextlib
import os
import resource
import subprocess
import sys
import threading
from typing import NoReturn

import msgspec
import numpy as np
import structlog

from more_server.audio.read import HIGHEST_RATE, LOUDEST, LOWEST_RATE
from more_server.audio.read import decode as decode_here
from more_server.errors import BadInput, MoreError, TooLarge
from more_server.speech import Audio

READY = b"READY\n"
HEAD_BYTES, SAID_BYTES = 4096, 4000
# 0.2 GB of addresses are Python, numpy and FFmpeg, whose largest block is 64 MB.
BASE_BYTES = 768 * 1024 * 1024
SHORT = b"RIFF\x28\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\4\0\0\0\1\0\1\0"
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1"}
"""Each of OpenBLAS's threads would take addresses, and nothing here multiplies matrices."""

log = structlog.get_logger("more_server.audio")


class Head(msgspec.Struct):
    """What the process tells before the samples, or in place of them."""

    rate: int = 0
    """Hertz."""
    count: int = 0
    """Samples."""
    refused: str = ""
    """What is wrong with the audio."""
    too_large: bool = False
    """It is too long, rather than wrong."""


def decode(data: bytes, *, max_seconds: float, max_channels: int, param: str = "audio_sample") -> Audio:
    """`read.decode` of an upload, apart; it blocks.

    BadInput too where the process dies of the bytes or takes more than its memory and time; MoreError where there is
    no such process to be had. How many there are at a time is up to the callers (web/uploads.py).
    """
    head, samples = _asked(data, max_seconds, max_channels)
    if not head:
        raise BadInput(
            "the audio cannot be decoded within the memory and the time that it may take; it is damaged, or made to do "
            "harm. Where you can hear it, save it anew, as WAV",
            param=param,
        )
    return _audio(head, samples, max_seconds, param)


def memory_bytes(max_seconds: float) -> int:
    """Addresses that a process may have: for its libraries, and for the longest audio three times over."""
    return BASE_BYTES + round(3 * 4 * HIGHEST_RATE * max_seconds)


def cpu_seconds(max_seconds: float) -> int:
    """Ten times what the most that may come takes on a fast core: 16 ms a second of 8 channels at 192 kHz."""
    return 10 + round(max_seconds / 5)


def wall_seconds(max_seconds: float) -> float:
    """Until the process is killed, on a machine that is busy with other things."""
    return 30 + 3 * cpu_seconds(max_seconds)


def started(max_seconds: float, max_channels: int) -> "subprocess.Popen[bytes]":
    """The process, which limits itself before it reads anything. Raises MoreError."""
    # Isolated: neither the folder that the server was started in nor any variable tells it where modules are.
    command = [sys.executable, "-I", "-m", "more_server.audio.apart", str(max_seconds), str(max_channels)]
    pipe = subprocess.PIPE
    try:
        return subprocess.Popen(  # noqa: S603 - nothing in it is a caller's
            command, stdin=pipe, stdout=pipe, stderr=pipe, env=ENVIRONMENT, cwd="/"
        )
    except OSError as error:
        _failed(str(error))


def _asked(data: bytes, max_seconds: float, max_channels: int) -> tuple[Head | None, bytes]:
    """What the process tells, and the samples; no Head: it died or said what nobody understands."""
    with started(max_seconds, max_channels) as process:
        timer = threading.Timer(wall_seconds(max_seconds), process.kill)
        timer.daemon = True
        timer.start()
        try:
            assert process.stdin
            assert process.stdout
            assert process.stderr
            ready = process.stdout.read(len(READY))
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(data)
            line = process.stdout.readline(HEAD_BYTES)
            samples = process.stdout.read(4 * round(max_seconds * HIGHEST_RATE) + 1)
            said = process.stderr.read(SAID_BYTES).decode("utf-8", "replace")
        finally:
            timer.cancel()
            process.kill()
        status = process.wait()
    if ready != READY:
        _failed(f"status {status}: {said}")
    try:
        return msgspec.json.decode(line, type=Head), samples
    except (msgspec.DecodeError, UnicodeDecodeError):
        log.warning("a recording was too much for the process that decodes it", status=status, said=said)
        return None, b""


def _audio(head: Head, samples: bytes, max_seconds: float, param: str) -> Audio:
    """Raises BadInput, TooLarge, or MoreError: the process is trusted no more than the bytes that it has read."""
    if head.refused:
        raise (TooLarge if head.too_large else BadInput)(head.refused, param=param)
    fits = LOWEST_RATE <= head.rate <= HIGHEST_RATE and 0 < head.count <= max_seconds * head.rate
    values = np.frombuffer(samples, np.float32) if fits and len(samples) == 4 * head.count else np.zeros(0, np.float32)
    if not len(values) or not np.abs(values).max() <= LOUDEST:
        raise BadInput("the audio cannot be decoded: what came of it is no audio", param=param)
    return Audio(values, head.rate)


def _failed(reason: str) -> NoReturn:
    log.error("the process that decodes recordings does not start", reason=reason)
    raise MoreError("recordings cannot be decoded at the moment; the server's log says why")


# -- in the process


def main() -> None:
    """Decode what comes on standard input; arguments: the most seconds and channels."""
    max_seconds, max_channels = float(sys.argv[1]), int(sys.argv[2])
    # PyAV imports the last of its modules when it decodes for the first time; afterwards nothing can be opened.
    decode_here(SHORT, max_seconds=1, max_channels=1)
    # Nobody reads what is said from here on before the end, and a full pipe would hold the process up.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    _limit(max_seconds)
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    try:
        audio = decode_here(sys.stdin.buffer.read(), max_seconds=max_seconds, max_channels=max_channels)
    except BadInput as error:
        _tell(Head(refused=error.message, too_large=isinstance(error, TooLarge)))
    else:
        _tell(Head(rate=audio.sample_rate, count=len(audio.samples)), audio.samples.tobytes())


def _limit(max_seconds: float) -> None:
    cpu = cpu_seconds(max_seconds)
    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes(max_seconds)),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),  # of further ones; not three, or one could be closed for another
        (resource.RLIMIT_NPROC, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (value, value))


def _tell(head: Head, samples: bytes = b"") -> None:
    sys.stdout.buffer.write(msgspec.json.encode(head) + b"\n")
    sys.stdout.buffer.write(samples)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
