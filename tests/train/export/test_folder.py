"""Trained weights become a model folder: the same values, the base's licence, whole or not at all."""

import resource
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import msgspec
import pytest
import torch
from more_train.export import Origin, Trained, export_model
from safetensors.torch import load_file, save_file

from more_server.errors import ModelError, StorageError
from more_server.models import list_models
from more_server.settings import Settings, bundled_dir
from more_server.testing import tiny_config, tiny_xtts
from more_server.xtts.config import read_config
from more_server.xtts.load import load

NANO = bundled_dir() / "models" / "nano"
ORIGIN = Origin(recipe="finetune", dataset="ann", steps=1200, evaluation={"accuracy": 0.97, "held_out_loss": 2.1})
BIAS = "gpt.mel_head.bias"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a licence that binds, in fp32."""
    config = msgspec.structs.replace(tiny_config(), licence="CPML: non-commercial", warning="not for shops")
    folder = tiny_xtts(tmp_path_factory.mktemp("base") / "base", config=config)
    save_file({"codebook.embed": torch.ones(4, 32)}, folder / "dvae.safetensors")
    save_file(
        {"Ann/conditioning": torch.ones(32, 64), "Ann/speaker_embedding": torch.ones(512)},
        folder / "speakers.safetensors",
    )
    (folder / "provenance.toml").write_text('licence_address = "https://example.org/cpml"\n')
    (folder / "LICENSE.txt").write_text("the whole licence")
    return folder


def tuned(base: Path) -> dict[str, torch.Tensor]:
    """The base's GPT, every value a little off."""
    return {
        name: tensor + 0.01 * torch.randn_like(tensor)
        for name, tensor in load_file(base / "model.safetensors").items()
        if name.startswith("gpt.")
    }


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize("dtype", ["fp32", "fp16"])
def test_values_survive(settings: Settings, base: Path, dtype: str) -> None:
    torch.manual_seed(3)
    trained = tuned(base)
    before = weights(base)
    info = export_model(settings, "ann", Trained(base=base, tensors=trained, origin=ORIGIN), dtype=dtype)
    after = weights(info.path)
    assert after.keys() == before.keys()
    for name, tensor in (before | trained).items():
        if dtype == "fp32" or name == "mel_stats" or not tensor.is_floating_point():
            assert after[name].dtype == tensor.dtype
            assert torch.equal(after[name], tensor), name
        else:
            assert after[name].dtype == torch.float16
            assert torch.equal(after[name], tensor.half()), name
            torch.testing.assert_close(after[name].float(), tensor, rtol=2**-11, atol=2**-24)
    # What was not trained is the base's, what was is not.
    assert not torch.equal(after[BIAS].float(), before[BIAS])
    loaded = load(info.path, torch.device("cpu"))
    torch.testing.assert_close(loaded.gpt.code_head.bias, after[BIAS].float())


def test_nano_survives_in_its_own_type(settings: Settings) -> None:
    unchanged = {name: tensor for name, tensor in weights(NANO).items() if name.startswith("gpt.")}
    info = export_model(settings, "other", Trained(base=NANO, tensors=unchanged, origin=ORIGIN))
    before, after = weights(NANO), weights(info.path)
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert info.trainable
    wide = export_model(settings, "wide", Trained(base=NANO, tensors=unchanged, origin=ORIGIN), dtype="fp32")
    assert all(torch.equal(tensor, before[name].to(tensor.dtype)) for name, tensor in weights(wide.path).items())
    load(wide.path, torch.device("cpu"))


def test_the_folder_tells_where_it_came_from(settings: Settings, base: Path) -> None:
    info = export_model(settings, "ann", Trained(base=base, tensors=tuned(base), origin=ORIGIN))
    (listed,) = (one for one in list_models(settings) if one.id == "ann")
    assert listed == info
    assert (info.problem, info.licence, info.warning) == ("", "CPML: non-commercial", "not for shops")
    assert (info.voices, info.trainable) == (("Ann",), True)
    assert read_config(info.path) == msgspec.structs.replace(read_config(base), name="ann")
    for name in ("vocab.json", "dvae.safetensors", "speakers.safetensors", "LICENSE.txt"):
        assert (info.path / name).read_bytes() == (base / name).read_bytes()
    assert len({path.stat().st_mode for path in info.path.iterdir()}) == 1
    told = tomllib.loads((info.path / "provenance.toml").read_text())
    assert (told["recipe"], told["dataset"], told["steps"], told["dtype"]) == ("finetune", "ann", 1200, "fp16")
    assert told["evaluation"] == ORIGIN.evaluation
    assert abs(told["exported"].timestamp() - time.time()) < 100
    assert told["licence"] == "CPML: non-commercial"
    assert told["base"]["name"] == "tiny"
    assert told["base"]["provenance"]["licence_address"] == "https://example.org/cpml"
    card = (info.path / "README.md").read_text()
    assert "CPML: non-commercial, inherited" in card
    assert "not for shops" in card


def test_a_model_from_nothing_folds_its_weight_norm(settings: Settings, base: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("config.json", "vocab.json"):
        shutil.copyfile(base / name, own / name)
    name = "hifigan_decoder.waveform_decoder.ups.0."
    tensors = weights(base)
    whole = dict(tensors)
    folded = whole.pop(f"{name}weight")
    whole[f"{name}parametrizations.weight.original0"] = folded.flatten(1).norm(dim=1).view(-1, 1, 1)
    whole[f"{name}parametrizations.weight.original1"] = 3 * folded
    info = export_model(settings, "ann", Trained(base=own, tensors=whole, origin=ORIGIN, whole=True), dtype="fp32")
    after = weights(info.path)
    torch.testing.assert_close(after.pop(f"{name}weight"), tensors.pop(f"{name}weight"))
    assert all(torch.equal(after[one], tensors[one]) for one in tensors)
    assert "base" not in tomllib.loads((info.path / "provenance.toml").read_text())
    del whole["mel_stats"]
    with pytest.raises(ModelError, match="mel_stats is missing"):
        export_model(settings, "eve", Trained(base=own, tensors=whole, origin=ORIGIN, whole=True))


# -- what is refused, and leaves nothing


def left(settings: Settings) -> set[str]:
    """What lies below the models folder."""
    folder = settings.model_dirs[0]
    return {path.name for path in folder.iterdir() if path.name != ".locks"} if folder.exists() else set()


@pytest.mark.parametrize("model_id", ["", "..", "a/b", ".ann", "auto", "x" * 65])
def test_ids_that_cannot_be(settings: Settings, base: Path, model_id: str) -> None:
    with pytest.raises(ModelError, match="cannot be a model's name"):
        export_model(settings, model_id, Trained(base=base, tensors=tuned(base), origin=ORIGIN))
    assert left(settings) == set()


def test_a_taken_id(settings: Settings, base: Path) -> None:
    trained = Trained(base=base, tensors=tuned(base), origin=ORIGIN)
    info = export_model(settings, "ann", trained)
    stamp = (info.path / "model.safetensors").stat().st_mtime_ns
    for model_id in ("ann", "nano"):
        with pytest.raises(ModelError, match="exists already"):
            export_model(settings, model_id, trained)
    assert left(settings) == {"ann"}
    assert (info.path / "model.safetensors").stat().st_mtime_ns == stamp


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        ({}, "holds nothing"),
        ({"mel_stats": torch.ones(80)}, "mel_stats is no part of the GPT"),
        ({BIAS: torch.ones(5)}, r"mel_head\.bias has shape \[5\]"),
        ({"gpt.other": torch.ones(5)}, "gpt.other is unexpected"),
        ({BIAS: torch.full((34,), torch.nan)}, "not finite"),
        ({BIAS: torch.full((34,), 1e6)}, "too large for fp16; export it in fp32"),
    ],
)
def test_weights_that_do_not_fit(settings: Settings, base: Path, tensors: dict[str, torch.Tensor], reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        export_model(settings, "ann", Trained(base=base, tensors=tensors, origin=ORIGIN))
    assert left(settings) == set()


def test_a_base_that_is_none(settings: Settings, base: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json cannot be read"):
        export_model(settings, "ann", Trained(base=tmp_path, tensors=tuned(base), origin=ORIGIN))
    assert left(settings) == set()


def test_a_full_disk(settings: Settings, base: Path) -> None:
    trained = Trained(base=base, tensors=tuned(base), origin=ORIGIN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # Files may not grow beyond this: the weights fail in the middle, as on a full disk.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"model\.safetensors cannot be written"):
            export_model(settings, "ann", trained)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert left(settings) == set()
    assert export_model(settings, "ann", trained).problem == ""


def test_a_killed_export_leaves_nothing_that_counts(settings: Settings, base: Path) -> None:
    """Killed in the middle of writing the weights; the next export of the id sweeps up and succeeds."""
    script = f"""
import os, signal, torch, safetensors.torch
from pathlib import Path
from safetensors.torch import load_file
from more_server.settings import Settings
from more_train.export import Origin, Trained, export_model
def half(tensors, path):
    Path(path).write_bytes(bytes(500_000))
    os.kill(os.getpid(), signal.SIGKILL)
safetensors.torch.save_file = half
base = Path({str(base)!r})
tensors = {{n: t for n, t in load_file(base / "model.safetensors").items() if n.startswith("gpt.")}}
trained = Trained(base=base, tensors=tensors, origin=Origin(recipe="finetune"))
export_model(Settings(data_dir=Path({str(settings.data_dir)!r})), "ann", trained)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    assert [info.id for info in list_models(settings)] == ["nano"]
    (partial,) = left(settings)
    assert partial.startswith(".ann.partial-")
    info = export_model(settings, "ann", Trained(base=base, tensors=tuned(base), origin=ORIGIN))
    assert info.problem == ""
    assert left(settings) == {"ann"}
