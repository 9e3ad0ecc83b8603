"""Several processes that train together do what one would do with all of their clips."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import torch
from more_train.checkpoint import read
from more_train.finetune import finetune
from more_train.processes import BUCKET_BYTES, _buckets, joined
from more_train.recipe import FineTune
from more_train.run import checkpoints, read_progress

from tests.train.finetune.conftest import QUICK
from tests.train.finetune.nursery import ENVIRONMENT, ROOT, Nursery

SAME = {**QUICK, "dropout": 0.0, "effective_batch": 4, "epochs": 2}


def values(run: Path, kind: str, name: str) -> list[float]:
    return [line.values[name] for line in read_progress(run) if line.kind == kind]


def test_two_processes_are_one_with_twice_the_batch(tiny: Path, buzz: Path, tmp_path: Path, nursery: Nursery):
    """Stopped on the way, too: when one of them is told to end, both do so at the same step."""
    recipe, two = tmp_path / "recipe.json", tmp_path / "two"
    recipe.write_bytes(msgspec.json.encode({**SAME, "batch_size": 2}))
    finetune(tiny, buzz, tmp_path / "one", FineTune(**{**SAME, "batch_size": 4}), device="cpu")
    command = ["finetune", str(tiny), str(buzz), str(two), "--recipe", str(recipe), "--device", "cpu"]
    _, second = nursery.begin(command, command, together=True)
    while not values(two, "train", "loss"):
        time.sleep(0.01)
    os.kill(second, signal.SIGTERM)
    ends = nursery.ends()
    assert ends[1] == 143, nursery.said()
    stopped_at = checkpoints(two)[-1][1].step
    nursery.begin(command, command, together=True)
    assert nursery.ends() == [0, 0]
    for kind in ("train", "held_out"):
        for name in ("loss", "text_loss", "code_loss"):
            assert values(two, kind, name) == pytest.approx(values(tmp_path / "one", kind, name), rel=1e-4)
    assert len(values(two, "train", "loss")) == 6 > stopped_at
    check_alike(two, tmp_path / "one")


def check_alike(two: Path, one: Path) -> None:
    alone = read(checkpoints(one)[-1][0]).parts
    for part, tensors in read(checkpoints(two)[-1][0]).parts.items():
        for name, tensor in tensors.items():
            torch.testing.assert_close(tensor, alone[part][name], atol=2e-3, rtol=0.05)


@pytest.mark.slow
def test_torchrun_starts_them(tiny: Path, buzz: Path, tmp_path: Path):
    recipe = tmp_path / "recipe.json"
    recipe.write_bytes(msgspec.json.encode({**SAME, "batch_size": 2}))
    finetune(tiny, buzz, tmp_path / "one", FineTune(**{**SAME, "batch_size": 4}), device="cpu")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = ["-m", "more_train", "finetune", tiny, buzz, tmp_path / "two", "--recipe", recipe, "--device", "cpu"]
    subprocess.run([*launcher, *map(str, command)], cwd=ROOT, env=ENVIRONMENT, check=True)
    assert values(tmp_path / "two", "train", "loss") == pytest.approx(
        values(tmp_path / "one", "train", "loss"), rel=1e-4
    )
    check_alike(tmp_path / "two", tmp_path / "one")


def test_alone_nothing_is_sent():
    with joined(torch.device("cpu")) as group:
        assert (group.rank, group.size, group.first) == (0, 1, True)
        assert group.sums(torch.tensor([1.5, 2.0])).tolist() == [1.5, 2.0]
        assert group.any(True)
        assert not group.any(False)
        group.add_gradients(torch.nn.Linear(2, 2))
        group.same([torch.zeros(2)])
        group.wait()


def test_gradients_are_sent_in_pieces():
    sizes = [BUCKET_BYTES // 8, BUCKET_BYTES // 8, 10, BUCKET_BYTES, 10]
    buckets = list(_buckets([torch.empty(size, device="meta") for size in sizes]))
    assert [[one.numel() for one in bucket] for bucket in buckets] == [sizes[:2], [10], sizes[3:4], [10]]
