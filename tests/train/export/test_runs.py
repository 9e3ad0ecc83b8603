"""The best weights of a fine-tuning, exported by the command."""

import tomllib
from pathlib import Path

import pytest
import torch
from more_train.checkpoint import Checkpoint
from more_train.export import export, trained_by
from more_train.finetune import KIND, MODEL_FILES, content_digest
from more_train.gpt_loss import load_trained
from more_train.recipe import FineTune
from more_train.run import Input, open_run
from safetensors.torch import load_file, save_file

from more_server.errors import BadInput, ModelError
from more_server.testing import tiny_xtts


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tiny_xtts(tmp_path / "base")
    save_file({"codebook.embed": torch.ones(4, 32)}, folder / "dvae.safetensors")
    return folder


def write_run(folder: Path, base: Path, kind: str = KIND, steps: int = 2) -> Path:
    """A run of so many evaluations, of which the first is the best; each adds a tenth to every weight."""
    inputs = {
        "model": Input(path=str(base), sha256=content_digest(base, MODEL_FILES)),
        "dataset": Input(path="/data/ann", sha256=""),
    }
    state = load_trained(base, torch.device("cpu")).state_dict()
    with open_run(folder, kind, FineTune(epochs=3), inputs) as run:
        for step in range(1, steps + 1):
            ema = {name: tensor + 0.1 * step for name, tensor in state.items()}
            run.save(Checkpoint(10 * step, {"weights": state, "ema": ema}, score=2.0 + step))
    return folder


def test_the_best_weights_are_exported(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("more_train.export.quiet", lambda _: None)  # the log of this process is the tests'
    run = write_run(tmp_path / "run", base)
    export(run, "ann", data_dir=tmp_path / "data", dtype="fp32")
    told = capsys.readouterr().out
    assert "Licence: Apache-2.0. random weights" in told
    assert "more-server models use ann" in told
    before, after = (load_file(folder / "model.safetensors") for folder in (base, tmp_path / "data/models/ann"))
    for name, tensor in before.items():
        expected = tensor + 0.1 if name.startswith("gpt.") else tensor
        torch.testing.assert_close(after[name], expected)
    provenance = tomllib.loads((tmp_path / "data/models/ann/provenance.toml").read_text())
    assert (provenance["recipe"], provenance["dataset"], provenance["steps"]) == (KIND, "ann", 10)
    assert provenance["settings"]["epochs"] == 3
    assert provenance["evaluation"] == {"held_out_loss": 3.0}
    with pytest.raises(ModelError, match=r"eve is exported, .* yet: the server at .* cannot be asked"):
        export(run, "eve", data_dir=tmp_path / "data", switch="http://127.0.0.1:9")
    assert (tmp_path / "data/models/eve").is_dir()


def test_what_is_no_finished_training(tmp_path: Path, base: Path) -> None:
    with pytest.raises(BadInput, match=r"no recipe\.json"):
        trained_by(tmp_path)
    with pytest.raises(BadInput, match="no checkpoint yet"):
        trained_by(write_run(tmp_path / "new", base, steps=0))
    with pytest.raises(BadInput, match="is a run of nano/gpt"):
        trained_by(write_run(tmp_path / "other", base, kind="nano/gpt"))
    run = write_run(tmp_path / "run", base)
    tiny_xtts(base, seed=1)
    with pytest.raises(ModelError, match="is not the model any more"):
        trained_by(run)
