"""A run's folder: whole checkpoints or none, whoever kills whom at whatever moment."""

import errno
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from more_train.checkpoint import Checkpoint, Damaged, read, read_part, write
from more_train.recipe import FineTune
from more_train.run import (
    Input,
    best_checkpoint,
    checkpoints,
    open_run,
    read_progress,
    read_run,
    stop_signals,
)

from more_server.errors import BadInput, StorageError

INPUTS = {"model": Input(path="/models/tiny", sha256="a" * 64)}
ROOT = Path(__file__).resolve().parents[3]


def opened(folder: Path, recipe: FineTune | None = None, kind: str = "finetune", sha256: str = "a" * 64) -> Any:
    return open_run(folder, kind, recipe or FineTune(), {"model": Input(path="/models/tiny", sha256=sha256)})


def made(step: int, score: float | None = None) -> Checkpoint:
    tensors = {"a": torch.full((3, 2), float(step)), "empty": torch.zeros(0), "one": torch.tensor(step)}
    halves = {"h": torch.arange(5).to(torch.bfloat16)}
    return Checkpoint(step, {"weights": tensors, "ema": halves}, {"step": step, "share": 0.1 + 0.2}, score)


def steps(folder: Path) -> list[int]:
    return [summary.step for _, summary in checkpoints(folder)]


# -- a checkpoint


def test_a_checkpoint_is_read_as_it_was_written(tmp_path: Path):
    write(tmp_path / "one", made(7, 2.5))
    back = read(tmp_path / "one")
    assert (back.step, back.score, back.state) == (7, 2.5, {"step": 7, "share": 0.1 + 0.2})
    for part, tensors in made(7).parts.items():
        for name, tensor in tensors.items():
            assert torch.equal(back.parts[part][name], tensor)
            assert back.parts[part][name].dtype == tensor.dtype
    assert read_part(tmp_path / "one", "ema")["h"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("fault", ["flipped", "cut", "missing", "summary", "format", "no part"])
def test_damage_is_noticed(tmp_path: Path, fault: str):
    folder = tmp_path / "one"
    write(folder, made(1))
    file, summary = folder / "weights.safetensors", folder / "checkpoint.json"
    content = bytearray(file.read_bytes())
    if fault == "flipped":
        content[-1] ^= 1
        file.write_bytes(content)
    elif fault == "cut":
        file.write_bytes(content[:-1])
    elif fault == "missing":
        file.unlink()
    elif fault == "summary":
        summary.write_bytes(b"{")
    elif fault == "format":
        summary.write_bytes(summary.read_bytes().replace(b'"format": 1', b'"format": 9'))
    with pytest.raises(Damaged):
        read(folder) if fault != "no part" else read_part(folder, "nothing")


# -- which are kept


def test_the_last_two_and_the_best_are_kept(tmp_path: Path):
    with opened(tmp_path / "run") as run:
        for step, score in ((0, 3.0), (10, 1.0), (20, 1.5), (30, None), (40, 1.2)):
            run.save(made(step, score))
    assert steps(tmp_path / "run") == [10, 30, 40]
    assert best_checkpoint(tmp_path / "run").name == "step-00000010"


def test_without_scores_the_newest_is_the_best(tmp_path: Path):
    with opened(tmp_path / "run") as run:
        for step in (1, 2, 3):
            run.save(made(step))
    assert best_checkpoint(tmp_path / "run").name == "step-00000003"
    assert best_checkpoint(tmp_path / "nothing") is None


def test_a_step_that_is_evaluated_later_is_kept_anew(tmp_path: Path):
    with opened(tmp_path / "run") as run:
        run.save(made(4))
        run.save(made(4, 1.5))
        assert run.newest().score == 1.5
    assert steps(tmp_path / "run") == [4]


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(tmp_path: Path):
    with opened(tmp_path / "run") as run:
        run.save(made(1))
        newest = run.save(made(2))
        (newest / "ema.safetensors").write_bytes(b"")
        assert run.newest().step == 1
        assert newest.with_suffix(".damaged").is_dir()
        assert run.newest().step == 1
        run.save(made(2))
        assert run.newest().step == 2
    assert steps(tmp_path / "run") == [1, 2]


def test_nothing_is_left_of_what_was_killed(tmp_path: Path):
    folder = tmp_path / "run" / "checkpoints"
    with opened(tmp_path / "run") as run:
        run.save(made(1))
    (folder / ".step-00000002.partial-0123abcd").mkdir()
    (folder / ".step-00000000.partial-removed").mkdir()
    with opened(tmp_path / "run") as run:
        assert run.newest().step == 1
    assert [path.name for path in folder.iterdir()] == ["step-00000001"]


SAVER = """
    import sys
    from pathlib import Path
    from tests.train.finetune.test_run import made, opened

    with opened(Path(sys.argv[1])) as run:
        found = run.newest()
        step = found.step if found else 0
        print(step, flush=True)
        while True:
            step += 1
            run.log("train", step, {"loss": 1.0})
            run.save(made(step, 1 / step if step % 3 else None))
"""


def test_killed_at_any_moment_it_goes_on(tmp_path: Path):
    """A process that does nothing but save is forked and killed, over and over."""
    script = f"""
    import os, random, signal, time, warnings
    SAVER = compile({textwrap.dedent(SAVER)!r}, "saver", "exec")
    import tests.train.finetune.test_run, sys, torch
    torch.set_num_threads(1)
    for turn in range(15):
        child = os.fork()
        if not child:
            exec(SAVER)
        time.sleep(random.uniform(0.03, 0.2))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "run")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'train'}"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    began = [int(line) for line in done.stdout.split()]
    assert began == sorted(began)
    with opened(tmp_path / "run") as run:
        newest = run.newest()
        assert newest is not None
        assert newest.step >= began[-1]
        assert not list((tmp_path / "run/checkpoints").glob("*.damaged"))
        run.begin(newest.step)
    assert {line.step for line in read_progress(tmp_path / "run")} <= set(range(newest.step + 1))


# -- whose folder it is


def test_two_processes_cannot_share_a_folder(tmp_path: Path):
    with opened(tmp_path / "run"), pytest.raises(StorageError, match="another process"), opened(tmp_path / "run"):
        pass


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"recipe": FineTune(learning_rate=1e-4)}, "learning_rate is 5e-06 there and 0.0001 here"),
        ({"kind": "nano"}, "its kind is finetune, not nano"),
        ({"sha256": "b" * 64}, "its model was /models/tiny, with another content"),
    ],
)
def test_another_run_is_not_overwritten(tmp_path: Path, other: dict[str, Any], told: str):
    with opened(tmp_path / "run"):
        pass
    with pytest.raises(BadInput) as caught, opened(tmp_path / "run", **other):
        pass
    assert told in caught.value.message
    assert "resume" in caught.value.message


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path):
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(BadInput, match="other things"), opened(tmp_path):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photo.jpg"]


def test_a_run_knows_what_it_is(tmp_path: Path):
    with opened(tmp_path / "run", FineTune(epochs=3)):
        pass
    there = read_run(tmp_path / "run")
    assert there.as_recipe(FineTune) == FineTune(epochs=3)
    assert there.inputs == INPUTS
    with pytest.raises(BadInput, match=r"has no recipe\.json"):
        read_run(tmp_path)
    with pytest.raises(BadInput, match="does not fit this version"):
        msgspec.structs.replace(there, recipe={"epochs": "many"}).as_recipe(FineTune)


# -- progress


def test_progress_is_told_and_read_again(tmp_path: Path):
    told: list[Any] = []
    with opened(tmp_path / "run") as run:
        run.listeners.append(told.append)
        run.begin(0)
        run.log("train", 1, {"loss": 2.5, "norm": float("nan")})
        run.note(1, "hello")
    lines = read_progress(tmp_path / "run")
    assert [(line.kind, line.step, line.text) for line in lines] == [("train", 1, ""), ("note", 1, "hello")]
    assert lines[0].values == {"loss": 2.5, "norm": None}
    assert len(told) == 2
    assert list((tmp_path / "run/events").glob("events.*"))


def test_progress_beyond_the_checkpoint_goes(tmp_path: Path):
    with opened(tmp_path / "run") as run:
        run.begin(0)
        for step in range(1, 6):
            run.log("train", step, {"loss": 1.0})
    with (tmp_path / "run/progress.jsonl").open("ab") as file:
        file.write(b'{"kind":"train","st')
    with opened(tmp_path / "run") as run:
        run.begin(3)
        run.log("train", 4, {"loss": 1.0})
    assert [line.step for line in read_progress(tmp_path / "run")] == [1, 2, 3, 4]


def test_tensorboard_reads_the_events(tmp_path: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with opened(tmp_path / "run") as run:
        run.begin(0)
        for step in (1, 2, 3):
            run.log("train", step, {"loss": 4.0 - step})
        run.add_audio("sample 1", 3, torch.zeros(2400).numpy(), 24_000)
    events = EventAccumulator(str(tmp_path / "run/events"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert events.Tags()["audio"] == ["sample 1"]


def test_without_tensorboard_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with opened(tmp_path / "run") as run:
        run.begin(0)
        run.log("train", 1, {"loss": 1.0})
    assert [line.kind for line in read_progress(tmp_path / "run")] == ["note", "train"]
    assert "pip install" in read_progress(tmp_path / "run")[0].text


# -- a full disk


def test_a_full_disk_costs_nothing_older(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with opened(tmp_path / "run") as run:
        run.save(made(1))
        run.save(made(2))
        with monkeypatch.context() as full:
            full.setattr("more_train.checkpoint._file", lambda *_: Path("/dev/full"))
            with pytest.raises(StorageError) as caught:
                run.save(made(3))
        assert "is full; the checkpoint of step 2 is whole" in caught.value.message
        assert "resume" in caught.value.message
        assert run.newest().step == 2
        assert steps(tmp_path / "run") == [1, 2]
        assert not [path for path in (tmp_path / "run/checkpoints").iterdir() if path.name.startswith(".")]
        run.save(made(3))
    assert steps(tmp_path / "run") == [2, 3]


def test_progress_that_finds_no_room_is_told(tmp_path: Path):
    with opened(tmp_path / "run") as run:
        (tmp_path / "run/progress.jsonl").symlink_to("/dev/full")
        with pytest.raises(StorageError, match="there is no checkpoint yet"):
            run.log("train", 1, {"loss": 1.0})


def test_events_that_find_no_room_are_told(tmp_path: Path):
    class Full:
        def add_scalar(self, *_: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            pass

    with opened(tmp_path / "run") as run:
        run._events = Full()
        with pytest.raises(StorageError, match="is full"):
            run.log("train", 1, {"loss": 1.0})


def test_other_faults_of_the_disk_keep_their_own_words(tmp_path: Path):
    with opened(tmp_path / "run") as run:
        (tmp_path / "run/checkpoints").write_text("a file where a folder should be")
        with pytest.raises(StorageError, match="cannot be written: File exists"):
            run.save(made(1))


# -- samples and signals


def test_samples_of_a_step_replace_earlier_ones(tmp_path: Path):
    with opened(tmp_path / "run") as run:
        for text in ("one", "two"):
            with run.samples(4) as folder:
                (folder / "1.wav").write_text(text)
    assert (tmp_path / "run/samples/step-00000004/1.wav").read_text() == "two"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_a_wish(number: signal.Signals):
    before = signal.getsignal(number)
    with stop_signals() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked == number.name
    assert signal.getsignal(number) is before


def test_a_second_sigint_ends_at_once():
    with stop_signals():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
