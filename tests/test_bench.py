"""`more-server bench` on random weights of the smallest sizes: what it reports, not how fast it was."""

import json
import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import pytest

from more_server.settings import EngineSettings
from tests.bench.options import Options
from tests.bench.workload import Heard, listening, percentile

ROOT = Path(__file__).resolve().parent.parent
CODES, SECONDS_PER_CODE = 33, 1024 / 22_050


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "more_server.cli", "bench", *arguments]
    # One thread: two pools of several on the same cores, as when tests run beside other work, stall each other.
    environment = os.environ | {"MORE_ENGINE__THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


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
