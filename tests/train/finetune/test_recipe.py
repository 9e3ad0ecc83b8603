"""The recipe: read, refused with the nearest name, explained, and filled in by the amount of data."""

import ast
import inspect
from itertools import pairwise
from pathlib import Path

import pytest
from more_train import recipe as module
from more_train.recipe import FineTune, read_recipe
from more_train.tuning import sizes

from more_server.errors import BadInput


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.toml", "epochs = 3\nbetas = [0.8, 0.9]\n"), ("a.json", '{"epochs": 3, "betas": [0.8, 0.9]}')],
)
def test_it_is_read(tmp_path: Path, name: str, content: str):
    (tmp_path / name).write_text(content)
    assert read_recipe(tmp_path / name, FineTune) == FineTune(epochs=3, betas=(0.8, 0.9))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("learning_rat = 1e-5", "learning_rat is no setting of FineTune; did you mean learning_rate?"),
        ("colour = 1", "there are: epochs, batch_size"),
        ("batch_size = 0", "`int` >= 1 - at `batch_size`"),
        ("precision = 'fp8'", "at `precision`"),
        ("epochs = ", "neither valid TOML"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, content: str, told: str):
    (tmp_path / "a.toml").write_text(content)
    with pytest.raises(BadInput) as caught:
        read_recipe(tmp_path / "a.toml", FineTune)
    assert told in caught.value.message
    assert "a.toml" in caught.value.message


def test_a_missing_file_is_told(tmp_path: Path):
    with pytest.raises(BadInput, match="No such file"):
        read_recipe(tmp_path / "a.toml", FineTune)


def test_every_setting_is_explained():
    tree = ast.parse(inspect.getsource(module))
    body = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "FineTune").body
    explained = {
        field.target.id
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
    }
    assert explained == set(FineTune.__struct_fields__)


@pytest.mark.parametrize(
    ("clips", "hours", "epochs", "clips_a_step"),
    [(60, 0.15, 40, 8), (600, 1.5, 20, 60), (1600, 4, 10, 160), (20_000, 50, 10, 252)],
)
def test_little_data_is_seen_more_often(clips: int, hours: float, epochs: int, clips_a_step: int):
    found = sizes(FineTune(), clips, 3600 * hours, 1)
    assert (found.epochs, found.rows * found.per_step) == (epochs, clips_a_step)


def test_more_processes_mean_fewer_micro_batches():
    alone, four = (sizes(FineTune(effective_batch=64), 1000, 7200.0, processes) for processes in (1, 4))
    assert alone.rows * alone.per_step == four.rows * four.per_step == 64
    assert four.per_step == alone.per_step // 4
