"""What workers are made of: shares of the machine, the merging of metrics, whose turn it is, what stops the start."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from more_server.errors import SettingsError
from more_server.settings import Loaded, Settings
from more_server.siblings import in_order
from more_server.tables import EngineSettings
from more_server.web.metrics import of_workers
from more_server.workers.devices import engine_of, share
from more_server.workers.member import SILENT_SECONDS, Member
from more_server.workers.messages import Given, Report, decoded, encoded

TEXT = """# HELP spoken_total Requests
# TYPE spoken_total counter
spoken_total{door="a {b} \\"c\\"",status="ok"} 2.0
# HELP ready Whether
# TYPE ready gauge
ready 1.0
"""


@pytest.mark.parametrize(
    ("cores", "count", "shares"),
    [
        ([0, 1], 2, [[0], [1]]),
        ([0, 4, 1, 5, 2], 2, [[0, 4], [1, 5, 2]]),
        ([0, 1, 2, 3], 3, [[0], [1], [2, 3]]),
        ([3, 7], 3, [[3], [7], [3]]),
    ],
)
def test_cores_are_divided(cores: list[int], count: int, shares: list[list[int]]) -> None:
    assert [share(cores, number, count) for number in range(count)] == shares


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def there(count: int) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    return there


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_each_has_a_gpu(gpus: Callable[[int], None], device: str) -> None:
    gpus(2)
    engines = [engine_of(EngineSettings(device=device), number, 2, 16) for number in range(2)]
    assert [(engine.device, engine.threads) for engine in engines] == [("cuda:0", 8), ("cuda:1", 8)]
    with pytest.raises(SettingsError, match=r"server\.workers is 3, and there are 2 GPUs"):
        engine_of(EngineSettings(device=device), 0, 3, 16)


def test_several_share_a_gpu_that_is_divided(gpus: Callable[[int], None]) -> None:
    gpus(1)
    with pytest.raises(SettingsError, match=r"engine\.memory_gb"):
        engine_of(EngineSettings(device="cuda:0"), 1, 2, 4)
    assert engine_of(EngineSettings(device="cuda:0", memory_gb=8), 1, 2, 4).device == "cuda:0"


def test_cores_without_a_gpu(gpus: Callable[[int], None]) -> None:
    gpus(0)
    assert engine_of(EngineSettings(), 0, 2, 8).threads == 4
    assert engine_of(EngineSettings(), 0, 4, 2).threads == 1
    assert engine_of(EngineSettings(threads=3), 0, 2, 8).threads == 3
    with pytest.raises(SettingsError, match="there are 0 GPUs"):
        engine_of(EngineSettings(device="cuda"), 0, 2, 8)


def test_metrics_are_merged() -> None:
    text = of_workers({0: TEXT.encode(), 2: TEXT.replace("2.0", "3.0").encode(), 1: None}).decode()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    spoken = [(sample.labels, sample.value) for sample in families["spoken"].samples]
    assert spoken == [
        ({"worker": "0", "door": 'a {b} "c"', "status": "ok"}, 2.0),
        ({"worker": "2", "door": 'a {b} "c"', "status": "ok"}, 3.0),
    ]
    assert [sample.labels for sample in families["ready"].samples] == [{"worker": "0"}, {"worker": "2"}]
    up = {sample.labels["worker"]: sample.value for sample in families["more_worker_up"].samples}
    assert up == {"0": 1.0, "1": 0.0, "2": 1.0}
    assert text.count("# TYPE spoken_total counter") == 1


def test_whose_turn_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def member(number: int, **told: Any) -> Member:
        made = Member(number)
        made.report = Report(ready=True, **told)
        return made

    def next_of(*members: Member) -> int:
        return min(members, key=lambda one: one.rank).number

    assert next_of(member(0, speaking=1), member(1, requests=9, connections=9)) == 1
    assert next_of(member(0, requests=1), member(1, connections=9)) == 1
    assert next_of(member(0, connections=1), member(1)) == 1
    loading, silent = Member(2), member(3)
    monkeypatch.setattr(silent, "_heard", silent.began - SILENT_SECONDS - 1)
    assert next_of(loading, silent, member(1, speaking=50)) == 1


def test_what_was_handed_counts_until_it_is_taken() -> None:
    one, other = Member(0), Member(1)
    door, theirs = socket.socketpair()
    one._door = door
    with door, theirs, socket.socket() as connection:
        assert one.hand(connection)
        assert other.rank < one.rank
        one._note(Report(taken=1))
        assert connection.fileno() < 0
        assert one.rank == other.rank
        theirs.close()
        with socket.socket() as late:
            assert not one.hand(late)
            assert not one.is_open
            assert late.fileno() >= 0


def test_settings_survive_the_way_to_a_worker(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, plugins={"more_loudness": {"target_lufs": -18.5}})
    given = Given(number=1, loaded=Loaded(settings, {"data_dir": "MORE_DATA_DIR"}), said={"port": 0})
    assert decoded(encoded(given), Given) == given


@pytest.mark.parametrize(
    ("setting", "arguments", "says"),
    [
        ({"ENGINE__DEVICE": "cuda"}, ("--workers", "2"), "server.workers is 2, and there are 0 GPUs"),
        ({"ENGINE__DEVICE": "cuda:0"}, ("--workers", "2"), "set engine.memory_gb"),
        ({"DEFAULT_VOICE": "nobody"}, ("--workers", "2"), "default_voice"),
        ({}, ("--workers", "0"), "Expected `int` >= 1 - at `$.workers`"),
    ],
)
def test_what_keeps_workers_from_their_start(
    tmp_path: Path, setting: dict[str, str], arguments: tuple[str, ...], says: str
) -> None:
    environment = {"MORE_DATA_DIR": str(tmp_path), "MORE_ENGINE__DEVICE": "cpu"}
    environment |= {f"MORE_{name}": value for name, value in setting.items()}
    command = [sys.executable, "-m", "more_server.cli", "serve", "--port", "0", *arguments]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    assert "ready" not in done.stdout
    assert says in done.stderr.splitlines()[-1]


def test_workers_and_replicas_have_an_order():
    assert in_order([10, 9, 0, 100]) == [0, 9, 10, 100]
    assert in_order(["c8dx4y8p", "a1", "b2"]) == ["a1", "b2", "c8dx4y8p"]
