"""What a training tells whoever attends it, without a training."""

import csv
import os
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from more_train.attended import Teller
from more_train.curves import DRAWN, Curves, thinned
from more_train.finetune import BEGAN, Begun
from more_train.inputs import check_inputs
from more_train.recipe import FineTune, make_recipe
from more_train.run import PROGRESS, Progress
from more_train.telling import Telling

from more_server.errors import BadInput
from tests.train.finetune.material import TEXTS, tiny_trainable, write_dataset

BEGUN = Begun(
    clips=10,
    held_out=2,
    seconds=20.0,
    left_out={},
    epochs=2,
    effective_batch=2,
    total_steps=10,
    device="cpu",
    processes=1,
)


def train(step: int) -> Progress:
    values = {"loss": 4.0 / step, "text_loss": 4.0, "code_loss": 3.9 / step, "rate": 1e-3, "epoch": step / 5}
    return Progress(kind="train", step=step, time=float(step), values=values)


def held_out(step: int, loss: float | None) -> Progress:
    return Progress(kind="held_out", step=step, time=float(step), values={"loss": loss})


class Told:
    """A run's progress, written and told as `open_run` does it, and what the other side hears."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._read, written = os.pipe()
        self.telling = Telling(Teller(written), run)

    def line(self, line: Progress) -> None:
        with (self._run / PROGRESS).open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
        self.telling.listen(line)

    def heard(self) -> list[dict[str, Any]]:
        lines = os.read(self._read, 1 << 20).splitlines()
        return [msgspec.json.decode(line, type=dict[str, Any])["progress"] for line in lines]


def test_progress_losses_and_curves_are_told(tmp_path: Path) -> None:
    told = Told(tmp_path)
    told.telling.report("making codes of the audio", 3, 12)
    told.telling.began(BEGUN)
    told.line(held_out(0, 5.0))
    assert [one["stage"] for one in told.heard()] == ["preparing", "training"]
    for step in range(1, 10):
        told.line(train(step))
    told.line(Progress(kind="note", step=9, time=9.0, text="no samples were spoken: the disk is full"))
    told.line(train(10))
    last = told.heard()[-1]
    assert (last["done"], last["total"]) == (10, 10)
    about = last["about"]
    assert (about["loss"], about["held_out"], about["learning_rate"], about["epoch"]) == (0.4, 5.0, 1e-3, 2.0)
    assert about["note"] == "no samples were spoken: the disk is full"
    told.line(held_out(10, 1.0))
    about = told.heard()[-1]["about"]
    assert about["best_step"] == 10
    assert about["curves"] == {
        "train": [[step, 4.0 / step] for step in range(1, 11)],
        "held_out": [[0, 5.0], [10, 1.0]],
    }


def test_what_is_gone_on_with_tells_how_far_it_was(tmp_path: Path) -> None:
    first = Told(tmp_path)
    first.telling.began(BEGUN)
    began = Progress(kind="note", step=0, time=0.0, text=BEGAN + msgspec.json.encode(BEGUN).decode())
    for line in (began, held_out(0, 5.0), *map(train, range(1, 7))):
        first.line(line)
    again = Told(tmp_path)
    again.telling.report("making codes of the audio", 0, 12)
    assert again.heard()[0]["about"] == {"step": 6, "steps": 10, "doing": "making codes of the audio"}
    again.telling.began(BEGUN)
    again.line(train(7))
    assert [step for step, _ in again.heard()[-1]["about"]["curves"]["train"]] == [1, 2, 3, 4, 5, 6, 7]


def test_curves_are_whole_whatever_the_losses(tmp_path: Path) -> None:
    curves, lines = Curves(tmp_path), [held_out(0, None), *map(train, range(1, 2000)), held_out(2000, 0.1)]
    (tmp_path / PROGRESS).write_bytes(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
    curves.take(lines[-1])
    picture = ElementTree.parse(tmp_path / "curves.svg").getroot()
    lines_drawn = [one for one in picture.iter() if one.tag.endswith("polyline")]
    assert [len(one.get("points", "").split()) for one in lines_drawn] == [DRAWN, 1]
    with (tmp_path / "curves.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert len(rows) == 2001
    assert (rows[0]["held_out"], rows[1]["loss"], rows[1]["learning_rate"]) == ("", "4.0", "0.001")


@pytest.mark.parametrize("count", [0, 1, 60, 61, 10_000])
def test_curves_are_thinned_to_their_means(count: int) -> None:
    points = [(step, float(step)) for step in range(count)]
    made = thinned(points, 60)
    assert len(made) <= 60
    assert made[-1:] == [(count - 1, made[-1][1])] if count else not made
    assert all(loss <= step for step, loss in made)


@pytest.mark.parametrize(
    ("values", "param"),
    [
        ({"learning_rat": 1}, "recipe.learning_rat"),
        ({"batch_size": 0}, "recipe.batch_size"),
        ({"betas": [0.5, 2]}, "recipe.betas"),
        ({"betas": [0.5]}, "recipe.betas"),
        ([], "recipe"),
    ],
)
def test_the_setting_at_fault_is_named(values: Any, param: str) -> None:
    with pytest.raises(BadInput) as refused:
        make_recipe(values, FineTune)
    assert refused.value.param == param


def test_inputs_are_looked_at_without_a_training(tmp_path: Path) -> None:
    model, dataset = tiny_trainable(tmp_path / "tiny"), write_dataset(tmp_path / "buzz")
    checked = check_inputs(model, dataset, FineTune())
    assert (checked.clips, checked.held_out) == (10, 2)
    assert checked.disk_bytes > 4 * 16 * 500_000
    one_long = write_dataset(tmp_path / "mixed")
    lines = (one_long / "clips.jsonl").read_text().splitlines()
    lines[-1] = lines[-1].replace(TEXTS[5], 6 * TEXTS[5])
    (one_long / "clips.jsonl").write_text("\n".join(lines))
    assert check_inputs(model, one_long, FineTune()).clips == 9
    for recipe, told in ((FineTune(batch_size=11), "batch_size is 11"), (FineTune(shortest_seconds=3), "12 shorter")):
        with pytest.raises(BadInput, match=f"^buzz has .*{told}") as refused:
            check_inputs(model, dataset, recipe)
        assert refused.value.param == "dataset"
    with pytest.raises(BadInput, match=r"^nothing is no dataset"):
        check_inputs(model, tmp_path / "nothing", FineTune())
    (model / "dvae.safetensors").unlink()
    for folder, data, param in ((model, dataset, "model"), (tmp_path, dataset, "model")):
        with pytest.raises(BadInput) as refused:
            check_inputs(folder, data, FineTune())
        assert refused.value.param == param
