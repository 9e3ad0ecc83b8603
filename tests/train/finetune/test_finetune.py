"""Fine-tuning from end to end: it learns, it can be ended at any moment, and it says what keeps it from learning."""

import os
import signal
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from more_train.checkpoint import read, read_part
from more_train.dataset.format import read_dataset
from more_train.gpt_loss import file_tensors
from more_train.optimise import Diverged
from more_train.run import Progress, best_checkpoint, checkpoints, read_progress
from more_train.samples import write_model
from more_train.trainer import Outcome, OutOfMemory
from more_train.tuning import uses_bf16
from safetensors.torch import load_file, save_file

from more_server.errors import BadInput, ModelError, StorageError
from more_server.xtts.load import load
from tests.train.finetune.conftest import QUICK
from tests.train.finetune.material import digest, tiny_trainable, write_dataset
from tests.train.finetune.nursery import Nursery

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

Tune = Callable[..., Outcome]


def losses(run: Path, kind: str) -> list[float]:
    return [line.values["loss"] for line in read_progress(run) if line.kind == kind]


def weights(run: Path) -> dict[str, str]:
    """The bits of the newest checkpoint, by part."""
    checkpoint = read(checkpoints(run)[-1][0])
    return {name: digest(dict(part)) for name, part in checkpoint.parts.items()}


# -- it learns


def test_it_learns_and_the_server_speaks_with_it(tune: Tune, tiny: Path, tmp_path: Path):
    outcome = tune(epochs=4, speak=True, samples=("Hello there.",), evaluate_epochs=4)
    run = tmp_path / "run"
    assert (outcome.end, outcome.step, outcome.total_steps) == ("finished", 20, 20)
    held_out = losses(run, "held_out")
    assert len(losses(run, "train")) == 20
    assert len(held_out) == 2
    assert held_out[-1] < 0.5 * held_out[0]
    assert outcome.best == held_out[-1]
    for step in ("step-00000000", "step-00000020"):
        with wave.open(str(run / "samples" / step / "1.wav")) as file:
            assert (file.getframerate(), file.getnchannels()) == (24_000, 1)
            assert file.getnframes() > 1000
    assert (run / "samples" / "step-00000020" / "sentences.txt").read_text() == "1.wav\tHello there.\n"
    # The best weights, as a model of the server.
    averaged = file_tensors(read_part(best_checkpoint(run), "ema"))
    write_model(tiny, averaged, tmp_path / "tuned")
    tuned, before = load(tmp_path / "tuned", torch.device("cpu")), load(tiny, torch.device("cpu"))
    assert not torch.equal(tuned.gpt.code_head.weight, before.gpt.code_head.weight)
    assert torch.equal(tuned.gpt.code_head.weight, averaged["gpt.mel_head.weight"])


def test_settings_reach_what_they_name(tune: Tune, tmp_path: Path):
    begun: list[Any] = []
    tune(
        epochs=1, effective_batch=5, train_conditioning=False, precision="bf16", checkpointing=True, began=begun.append
    )
    state = read(checkpoints(tmp_path / "run")[-1][0])
    assert (begun[0].effective_batch, begun[0].total_steps, begun[0].epochs) == (6, 2, 1)
    assert (begun[0].clips, begun[0].held_out, begun[0].left_out) == (10, 2, {})
    moments = state.parts["optimiser"]
    assert "gpt.code_head.weight.exp_avg" in moments
    assert not [name for name in moments if name.startswith(("conditioning_encoder", "perceiver"))]
    assert state.parts["weights"].keys() == state.parts["ema"].keys()


def test_accumulation_is_one_large_batch(tune: Tune, tmp_path: Path):
    """Sums are taken over all tokens of a step, so that it does not matter how it is cut."""
    same = {"epochs": 1, "dropout": 0.0, "effective_batch": 10, "reference_shares": (0.9, 0.9)}
    found = []
    for size in (10, 5, 2):
        tune(batch_size=size, out=tmp_path / str(size), **same)
        found.append(losses(tmp_path / str(size), "train")[0])
    assert found[1:] == pytest.approx([found[0]] * 2, rel=0.02)  # the references are other ones


def test_it_ends_when_nothing_more_is_learnt(tune: Tune):
    outcome = tune(epochs=50, learning_rate=1e-9, final_share=1.0, average=0.0, patience=2, evaluate_epochs=0.2)
    assert outcome.end == "early"
    assert outcome.step < 20


# -- it can be ended


def interrupted(tune: Tune, at: int, how: Callable[[], None], **given: Any) -> Any:
    def listen(line: Progress) -> None:
        if line.kind == "train" and line.step == at:
            how()

    return tune(listen=listen, **given)


def test_a_signal_checkpoints_within_the_step(tune: Tune, tmp_path: Path):
    given = {"epochs": 2, "effective_batch": 4}
    straight = tune(out=tmp_path / "straight", **given)
    stopped = interrupted(tune, 3, lambda: os.kill(os.getpid(), signal.SIGTERM), **given)
    assert (stopped.end, stopped.step) == ("SIGTERM", 3)
    assert checkpoints(tmp_path / "run")[-1][1].step == 3
    assert tune(**given) == msgspec.structs.replace(straight)
    assert weights(tmp_path / "run") == weights(tmp_path / "straight")
    for kind in ("train", "held_out"):
        assert losses(tmp_path / "run", kind) == losses(tmp_path / "straight", kind)


def test_finished_is_finished(tune: Tune, tmp_path: Path):
    first = tune()
    before = weights(tmp_path / "run")
    assert tune() == first
    assert weights(tmp_path / "run") == before


def wait_for(run: Path, step: int) -> None:
    deadline = time.monotonic() + 100
    while not any(line.kind == "train" and line.step >= step for line in read_progress(run)):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_terminated_and_killed_it_ends_with_the_same_bits(
    tune: Tune, tiny: Path, buzz: Path, tmp_path: Path, nursery: Nursery
):
    """By SIGTERM first, then by SIGKILL, then to the end: as if nothing had happened."""
    given = {**QUICK, "epochs": 5, "save_minutes": 0.0001}
    straight = tune(out=tmp_path / "straight", **given)
    run, recipe = tmp_path / "run", tmp_path / "recipe.json"
    recipe.write_bytes(msgspec.json.encode(given))
    (process,) = nursery.begin(["finetune", str(tiny), str(buzz), str(run), "--recipe", str(recipe), "--device", "cpu"])
    wait_for(run, 3)
    os.kill(process, signal.SIGTERM)
    asked = time.monotonic()
    assert nursery.ends() == [143]
    assert time.monotonic() - asked < 5
    assert "10 clips" in nursery.said()
    assert f"Go on with: python -m more_train resume {run}" in nursery.said()
    stopped_at = checkpoints(run)[-1][1].step
    assert 3 <= stopped_at < 25
    (process,) = nursery.begin(["resume", str(run), "--device", "cpu"])
    wait_for(run, stopped_at + 3)
    os.kill(process, signal.SIGKILL)
    assert nursery.ends() == [-signal.SIGKILL]
    assert stopped_at < checkpoints(run)[-1][1].step < 25
    assert tune(**given) == straight
    assert weights(run) == weights(tmp_path / "straight")


# -- it says what keeps it from learning


def test_what_is_no_number_stops_it(tune: Tune, tmp_path: Path):
    with pytest.raises(Diverged) as caught:
        tune(learning_rate=1.0, clip=0.0, epochs=100, effective_batch=2, evaluate_epochs=100, save_minutes=0.0001)
    kept = checkpoints(tmp_path / "run")[-1]
    assert f"the last good checkpoint is {kept[0]}" in caught.value.message
    assert "lower learning_rate" in caught.value.message
    assert all(tensor.isfinite().all() for tensor in read(kept[0]).parts["weights"].values())


def test_a_loss_that_is_no_number_changes_nothing(tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from more_train.tuning import FineTuning

    normal, calls = FineTuning._losses, iter(range(1000))

    def losses_with_a_fault(task: FineTuning, batch: Any) -> Any:
        text, codes = normal(task, batch)
        return text, codes * (float("nan") if next(calls) == 4 else 1.0)

    monkeypatch.setattr(FineTuning, "_losses", losses_with_a_fault)
    with pytest.raises(Diverged, match="the loss of step"):
        tune()
    assert all(tensor.isfinite().all() for tensor in read(checkpoints(tmp_path / "run")[-1][0]).parts["ema"].values())


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    ],
)
def test_too_long_a_batch_is_told_before_anything_else(
    tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("more_train.gpt_loss.Trained.forward", full)
    with pytest.raises(OutOfMemory) as caught:
        tune()
    assert "the longest batch does not fit" in caught.value.message
    assert "lower batch_size, which is 2" in caught.value.message
    assert "checkpointing = true" in caught.value.message
    assert not losses(tmp_path / "run", "train")


def test_a_model_that_does_not_fit_at_all_is_told(tune: Tune, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("more_train.optimise.Optimiser._prime", full)
    with pytest.raises(OutOfMemory, match="tiny with what AdamW and the running average keep does not fit into cpu"):
        tune()


def test_memory_that_runs_out_later_is_told_too(tune: Tune, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(
        "more_train.optimise.Optimiser.step", lambda _: (_ for _ in ()).throw(torch.OutOfMemoryError("full"))
    )
    with pytest.raises(OutOfMemory, match="step 1 does not fit"):
        tune()


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"clips": 3, "held_out": 2}, "has 1 clips to train on, batch_size is 2"),
        ({"clips": 0, "held_out": 0}, "has 0 clips to train on"),
        ({"clips": 4, "held_out": 0}, "has no clip held out"),
        ({"clips": 4, "seconds": 9.0}, "Left out: 4 longer than 2.6 s"),
    ],
)
def test_too_little_to_learn_is_told(tune: Tune, tmp_path: Path, given: dict[str, Any], told: str):
    dataset = write_dataset(tmp_path / "data", **given)
    with pytest.raises(BadInput) as caught:
        tune(dataset=dataset)
    assert told in caught.value.message


def test_a_folder_that_is_no_dataset_is_told(tune: Tune, tmp_path: Path):
    with pytest.raises(BadInput, match="is no dataset"):
        tune(dataset=tmp_path)


def test_a_model_without_dvae_is_told(tune: Tune, tiny: Path, tmp_path: Path):
    (tmp_path / "half").mkdir()
    for name in ("config.json", "vocab.json", "model.safetensors"):
        (tmp_path / "half" / name).symlink_to(tiny / name)
    with pytest.raises(ModelError, match=r"cannot be trained: it has no dvae\.safetensors"):
        tune(model=tmp_path / "half")
    assert not (tmp_path / "run").exists()


def test_another_recipe_or_model_is_refused(tune: Tune, tmp_path: Path):
    tune(epochs=1)
    with pytest.raises(BadInput, match="epochs is 1 there and 3 here"):
        tune(epochs=3)
    other = tiny_trainable(tmp_path / "tiny")
    tensors = load_file(other / "model.safetensors")
    tensors["gpt.text_head.bias"] += 1
    save_file(tensors, other / "model.safetensors")
    with pytest.raises(BadInput, match=r"its model was .* with another content"):
        tune(epochs=1, model=other)


def test_a_damaged_checkpoint_costs_the_steps_behind_the_one_before(tune: Tune, tmp_path: Path):
    given = {"epochs": 2, "evaluate_epochs": 1.0}
    tune(out=tmp_path / "straight", **given)
    tune(**given)
    newest = checkpoints(tmp_path / "run")[-1][0]
    (newest / "weights.safetensors").write_bytes(b"nonsense")
    tune(**given)
    assert newest.with_suffix(".damaged").is_dir()
    assert weights(tmp_path / "run") == weights(tmp_path / "straight")


def test_a_full_disk_is_told(tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from more_train import checkpoint

    normal, calls = checkpoint._file, iter(range(1000))
    # The first checkpoint has three files; then there is no room.
    monkeypatch.setattr(
        checkpoint, "_file", lambda folder, part: Path("/dev/full") if next(calls) > 2 else normal(folder, part)
    )
    with pytest.raises(StorageError, match="the checkpoint of step 0 is whole"):
        tune()
    monkeypatch.undo()
    assert [summary.step for _, summary in checkpoints(tmp_path / "run")] == [0]
    assert tune().end == "finished"


def test_samples_that_fail_do_not_end_it(tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise ModelError("no voice today")

    monkeypatch.setattr("more_train.tuning.speak", fail)
    assert tune(speak=True).end == "finished"
    notes = [line.text for line in read_progress(tmp_path / "run") if line.kind == "note"]
    assert "no samples were spoken: no voice today" in notes


def test_bf16_is_for_whoever_gains_by_it():
    module, cpu = torch.nn.Linear(2, 2), torch.device("cpu")
    assert not uses_bf16("auto", cpu, module)
    assert uses_bf16("bf16", cpu, module)
    assert not uses_bf16("fp32", cpu, module)


def test_a_dataset_that_is_not_ours_stays_as_it_is(tune: Tune, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    dataset = write_dataset(tmp_path / "data", 5)
    before = sorted(path.name for path in dataset.iterdir())
    monkeypatch.setattr("more_train.finetune.os.access", lambda *_: False)
    tune(dataset=dataset, epochs=1)
    assert sorted(path.name for path in dataset.iterdir()) == before
    assert (tmp_path / "run" / "codes.sqlite").is_file()
    assert len(read_dataset(dataset)[1]) == 5
