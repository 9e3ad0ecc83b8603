"""`tests/bench/fleet.py`: what it reads, what it looks for, and what it prints."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
import yaml

from tests.bench.simulated.scaling import Autoscaling
from tests.bench.simulated.service import from_bench, services
from tests.bench.simulated.simulation import Setup
from tests.bench.simulated.study import Goal, Study
from tests.bench.simulated.traffic import Day

ROOT = Path(__file__).resolve().parent.parent


def test_the_line_of_the_benchmark_is_read() -> None:
    found = {
        "date": "2026-11-27T01:02:03+00:00",
        "model": "ann",
        "machine": {"cpu": "Abacus", "cores": 2, "device": "cpu"},
        "engine": {
            "precision": "int8",
            "load_s": 4.5,
            "streams": [
                {"streams": 1, "first_audio_ms_p50": 100, "audio_s_per_s": 2},
                {"streams": 3, "first_audio_ms_p50": 200, "audio_s_per_s": 3},
            ],
        },
    }
    one = from_bench(json.dumps(found), 0.2)
    assert (one.name, one.slots, one.load_seconds, one.price) == ("ann", 3, 4.5, 0.2)
    assert "Abacus" in one.source
    assert one.speeds(3) == pytest.approx([0, 2, 2.5 / 2, 3 / 3])
    assert one.firsts(3) == pytest.approx([0, 0.1, 0.15, 0.2])
    with pytest.raises(ValueError, match=r"4 streams at once: ann was measured with 1 to 3"):
        one.speeds(4)
    for wrong in ("", "{}", '{"engine": null}', "[1]", "engine failed"):
        with pytest.raises(ValueError, match="JSON line that `more-server bench` ends with"):
            from_bench(wrong, 0.2)


def test_what_a_fleet_carries_is_the_most_and_what_is_needed_is_the_least() -> None:
    study = Study(
        setup=Setup(service=services()["xtts-cpu"], replicas=1, start_seconds=20),
        day=Day(peak=1.0),
        goal=Goal(first_seconds=1.0),
        requests=20_000,
        seed=1,
    )
    peak = study.carried(4)
    assert study._holds(4, peak)
    assert not study._holds(4, 1.05 * peak)
    assert study.needed(peak) == 4
    row = study.fixed(4, peak)
    assert study.goal.met(row.outcome)
    assert (row.replicas, row.simulated) == (4, 4)
    assert row.seconds < 86_400
    hopeless = msgspec.structs.replace(study, goal=Goal(first_seconds=0.01))
    assert hopeless.carried(2) == 0
    with pytest.raises(ValueError, match="no number of replicas"):
        hopeless.needed(1.0)


def fleet(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tests/bench/fleet.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


def test_the_command_says_what_it_can_do() -> None:
    done = fleet("--help")
    assert done.returncode == 0, done.stderr
    for option in ("--bench", "--replicas", "--peak", "--goal-ms", "--concurrency", "--plot", "--seed"):
        assert option in done.stdout


def test_the_command_simulates_and_recommends(tmp_path: Path) -> None:
    picture = tmp_path / "day.svg"
    done = fleet("--replicas", "1,2", "--load", "0.5", "--requests", "20000", "--plot", str(picture))
    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [row.split(" | ")[0] for row in rows] == ["| replicas", "| 1", "| 2", "| traffic of", "| 2", "| 2"]
    assert [row.split(" | ")[1] for row in rows[4:]] == ["Serve's defaults", "recommended"]
    assert len({row.count("|") for row in rows[:3]}) == len({row.count("|") for row in rows[3:]}) == 1
    config = yaml.safe_load(done.stdout.split("```yaml")[1].split("```")[0])
    scaling = msgspec.convert(config["autoscaling_config"], Autoscaling, strict=False)
    assert (scaling.min_replicas, scaling.max_replicas) == (1, 3)
    assert config["max_ongoing_requests"] > 8 + 32
    assert picture.read_text().startswith("<svg xmlns=")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--peak", "10", "--load", "0.5"), "--peak and --load exclude each other"),
        (("--replicas", "0"), "give numbers from 1 to 1000"),
        (("--replicas", "many"), "give numbers from 1 to 1000"),
        (("--concurrency", "9"), "9 streams at once: xtts-cpu was measured with 1 to 8"),
        (("--goal-ms", "1", "--replicas", "1"), "try more for --goal-ms or --behind"),
        (("--bench", "nothing.json"), "nothing.json"),
        (("nonesuch",), "xtts-cpu"),
    ],
)
def test_what_cannot_be_simulated_is_said(arguments: tuple[str, ...], words: str) -> None:
    done = fleet(*arguments)
    assert done.returncode != 0
    assert words in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
