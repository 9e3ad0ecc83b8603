"""`more-server bench` on random weights of the smallest sizes: what it reports, not how fast it was.

And its soak, with nano, for seconds: nobody is lost. What it would say of a server that leaks or breaks off is tested
on figures and answers that were made up.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest

from more_server.tables import EngineSettings
from tests.bench import soak, visitors
from tests.bench.options import Options
from tests.bench.visits import Place
from tests.bench.workload import Heard, listening, percentile

ROOT = Path(__file__).resolve().parent.parent
CODES, SECONDS_PER_CODE = 33, 1024 / 22_050


def bench(*arguments: str, seconds: float = 240) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "more_server.cli", "bench", *arguments]
    # One thread: two pools of several on the same cores, as when tests run beside other work, stall each other.
    environment = os.environ | {"MORE_ENGINE__THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds)


@pytest.fixture(scope="module")
def printed() -> str:
    asked = ("--streams", "2", "--codes", str(CODES), "--tokens", "20", "--repeats", "3")
    done = bench("--random", "tiny", *asked, "--against", "coqui", "--jobs", "2")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(printed: str) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return decoded


def test_what_was_measured_is_said(found: dict[str, Any]) -> None:
    assert found["failures"] == {}
    assert found["model"] == "random-tiny"
    assert found["options"] == {"streams": [1, 2], "codes": CODES, "tokens": 20, "repeats": 3, "jobs": 2}
    assert found["versions"]["more-server"] == metadata.version("more-server")
    assert found["versions"]["torch"] == metadata.version("torch")
    assert found["date"].endswith("+00:00")
    machine = found["machine"]
    assert machine["cpu"]
    assert 1 <= machine["cores"] <= 4096
    assert machine["device"] in ("cpu", "cuda")
    assert 0.1 < machine["read_gb_per_s"] < 100_000


def test_every_number_of_streams_spoke_the_codes_asked_for(found: dict[str, Any]) -> None:
    rows = found["engine"]["streams"]
    assert [(row["streams"], row["runs"], row["heard"]) for row in rows] == [(1, 3, 3), (2, 2, 4)]
    for row in rows:
        assert row["codes"] == CODES
        # The decoder's frames are 256 samples: so much may a stream differ from its codes' length.
        assert row["audio_s"] == pytest.approx(row["streams"] * CODES * SECONDS_PER_CODE, abs=row["streams"] * 0.011)
        assert row["audio_s_per_s"] == pytest.approx(row["audio_s"] / row["wall_s"], rel=0.5)
        assert 0 < row["first_audio_ms_p50"] <= row["first_audio_ms_p95"]
        assert row["gaps"] >= 0
        assert (row["longest_gap_ms"] > 0) is (row["gaps"] > 0)


def test_one_stream_against_the_memory(found: dict[str, Any]) -> None:
    engine = found["engine"]
    assert engine["precision"] in ("fp32", "int8", "bf16")
    assert engine["ms_per_code"] == pytest.approx(1000 * engine["real_time_factor"] * SECONDS_PER_CODE, rel=0.01)
    assert 0 < engine["real_time_factor_best"] <= engine["real_time_factor"]
    assert engine["block_weights_bytes"] == 2 * 12 * 64**2 * 4
    floor = engine["block_weights_bytes"] / found["machine"]["read_gb_per_s"] / 1e6
    assert engine["floor_ms_per_code"] == pytest.approx(floor, rel=0.05)
    assert 0 < engine["share_of_floor"] < 1
    assert 50 < engine["loaded_mb"] <= engine["resident_peak_mb"]
    assert engine["resident_mb"] <= engine["resident_peak_mb"]


def test_post_processors_beside_the_synthesis(found: dict[str, Any]) -> None:
    chains, factor = found["post_processors"], found["engine"]["real_time_factor"]
    assert chains["balanced"]["post_processors"] == ["more_silence", "more_loudness"]
    for chain in (chains[name] for name in ("fast", "balanced", "high_quality")):
        assert chain["share"] == pytest.approx(chain["ms_per_s"] / 1000 / factor, rel=0.01, abs=1e-3)


def test_coqui_spoke_beside_it(found: dict[str, Any]) -> None:
    coqui, ratios = found["coqui"], found["ratios"]
    assert coqui["codes"] == CODES
    assert coqui["resident_mb"] > 50
    assert 0 < coqui["inference"]["ms_per_code_generating"] < coqui["inference"]["ms_per_code"]
    assert coqui["inference_stream"]["heard"] == coqui["runs"]
    assert coqui["inference_stream"]["first_audio_ms_p50"] > 0
    ours = found["engine"]["real_time_factor"]
    assert ratios["real_time_factor"] == pytest.approx(ours / coqui["inference"]["real_time_factor"], rel=0.01)
    assert all(ratio > 0 for ratio in ratios.values())


def test_a_job_spoke_what_the_batch_did_and_people_were_heard_beside_it(found: dict[str, Any]) -> None:
    jobs = found["jobs"]
    assert (jobs["passages"], jobs["pairs"], jobs["heard"]) == (2, 2, 6)
    assert jobs["job_audio_s"] == pytest.approx(jobs["batch_audio_s"], rel=0.5)
    assert len(jobs["ratio_of_each_pair"]) == 2
    assert jobs["ratio"] == pytest.approx(jobs["job_audio_s_per_s"] / jobs["batch_audio_s_per_s"], rel=0.01)
    assert jobs["ratio"] < jobs["ratio_at_work"]
    assert jobs["before_it_speaks_s"] > 0
    assert jobs["speaking_s"] > 0
    assert jobs["encoding_s"] >= 0
    beside, alone = jobs["first_audio_beside_ms_p50"], jobs["first_audio_alone_ms_p50"]
    assert jobs["growth"] == pytest.approx(beside / alone, rel=0.01)
    assert len(jobs["growth_of_each_pair"]) == 2


def test_people_read_a_table(printed: str) -> None:
    *lines, _ = printed.splitlines()
    assert lines[0].startswith("random-tiny on ")
    assert f"{CODES} codes = 1.5 s of audio a stream" in lines[0]
    assert [line.split()[0] for line in lines if line[:2] in ("1 ", "2 ")] == ["1", "2"]
    assert any(line.startswith("real-time factor") for line in lines)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--streams", "1,two"], "--streams 1,two: give numbers from 1 to 256, such as 1,4,16"),
        (["--streams", "0"], "give numbers from 1 to 256"),
        (["--streams", "1000"], "give numbers from 1 to 256"),
        (["--model", "nano", "--random", "tiny"], "--model and --random exclude each other"),
        (["--model", "nobody"], "model 'nobody' is not here; here are:"),
        (["--precision", "int3"], "the engine cannot be set up so: "),
        (["--codes", "0"], "Must be >= 1"),
        (["--random", "huge"], "xtts-v2"),
        (["--jobs", "3601"], "Must be <= 3600"),
        (["--against", "everyone"], "coqui"),
        (["--soak", "1441"], "Must be <= 1440"),
        (["--soak", "1", "--jobs", "5"], "--soak stands alone"),
        (["--codes", "500"], "--codes 500: nano speaks at most 197 codes in one breath"),
        (["--random", "tiny", "--codes", "33", "--tokens", "90"], "--tokens 90: tiny reads at most 79 text tokens"),
    ],
)
def test_nonsense_is_refused_in_words(arguments: list[str], says: str) -> None:
    done = bench(*arguments)
    assert done.returncode != 0
    assert says in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr


def test_a_part_that_fails_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "hollow"
    folder.mkdir()
    (folder / "config.json").write_bytes(Path("models/nano/config.json").read_bytes())
    options = Options(
        folder=str(folder),
        random="",
        streams=(1,),
        codes=33,
        tokens=20,
        repeats=1,
        coqui=False,
        http=False,
        jobs=0,
        soak=0,
        json_only=True,
        engine=msgspec.to_builtins(EngineSettings(slots=1)),
    )
    command = [sys.executable, "tests/bench/bench.py", msgspec.json.encode(options).decode()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "✗ engine failed" in done.stderr
    (line,) = done.stdout.splitlines()
    found = json.loads(line)
    assert found["engine"] is None
    assert "hollow" in found["failures"]["engine"]
    assert found["machine"]["read_gb_per_s"] > 0


def test_gaps_are_what_a_player_would_hear() -> None:
    heard = Heard(asked=0.0, arrivals=[1.0, 1.4, 2.5, 2.6], lengths=[0.5, 0.5, 0.2, 0.5])
    # Heard out at 1.5, then at 2.0: half a second is missing; the chunk of 2.5 lasts until the last one is there.
    assert heard.gaps() == pytest.approx([0.5])
    assert heard.first == 1.0
    assert heard.audio == pytest.approx(1.7)
    assert listening([heard]) == {
        "first_audio_ms_p50": 1000.0,
        "first_audio_ms_p95": 1000.0,
        "heard": 1,
        "gaps": 1,
        "longest_gap_ms": 500.0,
    }


def test_percentiles() -> None:
    assert percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert percentile([float(value) for value in range(100)], 0.95) == 95.0
    assert percentile([7.0], 0.95) == 7.0


# -- the soak

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
NOISE = random.Random(1).randbytes(48_000)


def answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def test_a_short_soak_loses_nobody() -> None:
    done = bench("--soak", "0.2", seconds=900)
    found = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 0, (found["failures"], done.stderr)
    assert found["failures"] == {}
    soaked, requests = found["soak"], found["soak"]["requests"]
    assert requests["lost"] == 0
    assert requests["sent"] == sum(requests[outcome] for outcome in soak.OUTCOMES)
    assert set(requests["by_kind"]) == {visit.__name__ for visit in soak.MIX} | {"repeats"}
    assert requests["refused"] > 0, "the burst was more than the server takes"
    assert requests["whole"] > requests["by_kind"]["burst"]["whole"]
    assert soaked["same_seed"] >= 2 * len(visitors.SEEDED)
    assert soaked["slots"]["in_use_at_end"] == 0
    assert soaked["memory"]["samples"] >= 8
    assert 100 < soaked["memory"]["begin_mb"] <= soaked["memory"]["peak_mb"]
    assert soaked["descriptors"]["begin"] > 3
    assert "same seed, same bytes" in done.stdout


@pytest.mark.parametrize(
    ("sent", "outcome", "says"),
    [
        (answer("200 OK", NOISE), "whole", ""),
        (answer("429 Too Many Requests", b"", "retry-after: 2"), "refused", ""),
        (answer("429 Too Many Requests"), "lost", "429 without Retry-After"),
        (answer("500 Internal Server Error"), "lost", "status 500"),
        (answer("200 OK"), "lost", "no pcm at all"),
        (answer("200 OK", bytes(48_000)), "lost", "silent"),
        (answer("200 OK", NOISE[:1000]), "lost", "0.02 s of pcm for 17 characters"),
        (CHUNKED + b"5\r\nhello\r\n", "lost", "RemoteProtocolError"),
        (b"", "lost", "RemoteProtocolError"),
    ],
)
async def test_what_counts_as_lost(sent: bytes, outcome: str, says: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(sent)
        await writer.drain()
        writer.close()

    ledger = soak.Ledger()
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        place = Place(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", 0, b"", 1)
        assert await ledger.keep("one", visitors.burst(place, random.Random(0))) == outcome
    told = ledger.told()
    assert (told["sent"], told[outcome]) == (1, 1)
    assert says in " ".join(told["reasons"])


def test_memory_that_grows_is_told_from_memory_that_comes_and_goes() -> None:
    chance = random.Random(5)
    steady = [800 + chance.choice((0, 0, 0, 15)) for _ in range(300)]
    assert abs(soak.slope(steady)) < 0.1
    leaking = [one + 3 * second / 60 for second, one in enumerate(steady)]
    assert soak.slope(leaking) == pytest.approx(3, abs=0.2)
    every_second = [second / 20 for second in range(5000)]  # of which each fifth is taken
    assert soak.slope(every_second) == pytest.approx(3)


def test_what_a_soak_fails_for() -> None:
    good: dict[str, Any] = {
        "minutes": 10.0,
        "requests": {"sent": 9, "lost": 0, "reasons": []},
        "memory": {"slope_mb_per_min": 0.9, "bound_mb_per_min": 1.0},
        "slots": {"in_use_at_end": 0},
        "descriptors": {"begin": 20, "end": 30},
        "threads": {"begin": 20, "end": 20},
        "errors_logged": 0,
        "first_errors": [],
        "files_left": [],
    }
    assert soak.failures(good) == []
    growing = good | {"memory": {"slope_mb_per_min": 1.1, "bound_mb_per_min": 1.0}}
    assert soak.failures(growing | {"minutes": 1.0}) == []
    worse = [
        growing,
        good | {"requests": {"sent": 9, "lost": 1, "reasons": ["why"]}},
        good | {"slots": {"in_use_at_end": 2}},
        good | {"descriptors": {"begin": 20, "end": 60}},
        good | {"threads": {"begin": 20, "end": 60}},
        good | {"errors_logged": 1, "first_errors": ["a"]},
        good | {"files_left": ["voices/soak/a.wav"]},
    ]
    assert [len(soak.failures(one)) for one in worse] == [1] * len(worse)
