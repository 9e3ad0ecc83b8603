"""The whole recipe in its smoke configuration: it makes a model that speaks, and no kill changes what it makes."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from more_train.nano import stages
from more_train.nano.presets import smoke
from more_train.nano.saying import say
from more_train.nano.stages import make_model
from more_train.run import read_progress

from more_server.models import check_model
from more_server.xtts.load import load

ROOT = Path(__file__).resolve().parents[3]
FILES = ("model.safetensors", "dvae.safetensors", "config.json", "vocab.json")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    before = torch.get_num_threads()
    try:
        return make_model(smoke(), tmp_path_factory.mktemp("nano") / "run").parent
    finally:
        torch.set_num_threads(before)


def test_the_server_loads_it_and_it_makes_sound(made: Path):
    folder = made / "model"
    assert check_model(folder).languages == ("en", "pt")
    model = load(folder, torch.device("cpu"))
    reference = torch.from_numpy(0.1 * np.random.default_rng(1).standard_normal(22_050, dtype=np.float32))
    conditioning = model.conditioner.latents(reference)
    embedding = model.conditioner.speaker_embedding(reference[:16_000])
    for said in say(
        model,
        [("good morning", "en"), ("bom dia, são paulo", "pt")],
        conditioning,
        embedding,
        temperature=1.0,
        top_k=20,
        seed=3,
        check=lambda: None,
    ):
        assert said.codes < smoke().gpt.max_codes
        assert said.audio.isfinite().all()
        assert len(said.audio) == (model.decoder.frame_count(said.codes) * model.config.hop_length if said.codes else 1)


def test_the_card_tells_how_it_was_made(made: Path):
    card = (made / "model" / "README.md").read_text()
    for told in ("Apache-2.0", "English, Portuguese", "espeak-ng", "| gpt | 6 |", "| linden | en | 2 |", "thread"):
        assert told in card


def test_every_stage_told_its_losses(made: Path):
    for stage in stages.TRAINED:
        (*_, last) = [line for line in read_progress(made / stage) if line.kind == "train"]
        assert last.step == 6
        assert all(value is not None for value in last.values.values())
    held_out = [line for line in read_progress(made / "gpt") if line.kind == "held_out"]
    assert [line.step for line in held_out] == [3, 6]
    assert "mel_exchanged" in held_out[0].values


def test_a_second_run_does_nothing(made: Path, monkeypatch: pytest.MonkeyPatch):
    times = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    monkeypatch.setattr(stages, "build", None)
    monkeypatch.setattr(stages, "make", None)
    began = time.monotonic()
    assert make_model(smoke(), made) == made / "model"
    assert time.monotonic() - began < 2
    now = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    changed = {path.name for path in now if now[path] != times.get(path)}
    assert changed <= {"vocab.json", "run.lock"}


def begin(out: Path) -> "subprocess.Popen[bytes]":
    # As on the terminal, and in a process of its own, since it is to be killed.
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "train"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "more_train", "nano", str(out), "--preset", "smoke"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for(process: "subprocess.Popen[bytes]", reached: Callable[[], bool]) -> None:
    while not reached():
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.002)


def steps(folder: Path) -> int:
    return max((int(path.name[5:13]) for path in folder.glob("checkpoints/step-*")), default=0)


@pytest.mark.slow
def test_a_kill_in_every_stage_changes_nothing(made: Path, tmp_path: Path):
    out = tmp_path / "run"
    moments: list[Callable[[], bool]] = [
        (out / "speech" / "00000.safetensors").exists,
        lambda: steps(out / "speaker") >= 2,
        lambda: steps(out / "dvae") >= 3,
        (out / "codes" / "00001.safetensors").exists,
        lambda: steps(out / "vocoder") >= 2,
        lambda: steps(out / "gpt") >= 2,
        lambda: steps(out / "decoder") >= 4,
        (out / "decoder" / "result.safetensors").exists,
        (out / "model" / "config.json").exists,
    ]
    for reached in moments:
        process = begin(out)
        wait_for(process, reached)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stderr.close()
    process = begin(out)
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told.decode()
    for name in FILES:
        assert (out / "model" / name).read_bytes() == (made / "model" / name).read_bytes(), name
    assert not list(out.rglob(".*.partial-*"))


def test_told_to_stop_it_keeps_what_it_has_and_ends_at_once(tmp_path: Path):
    out = tmp_path / "run"
    process = begin(out)
    wait_for(process, lambda: steps(out / "speaker") >= 1)
    os.kill(process.pid, signal.SIGTERM)
    began = time.monotonic()
    _, told = process.communicate(timeout=60)
    assert time.monotonic() - began < 5
    assert process.returncode == 143, told.decode()
    assert "the same command goes on" in told.decode().replace("\n", " ")
    assert steps(out / "speaker") >= 1
    assert not (out / "gpt").exists()
