"""A model folder that does not fit is refused in one readable paragraph."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from more_server.errors import ModelError
from more_server.testing import tiny_xtts
from more_server.xtts.load import load

CPU = torch.device("cpu")


def edit_config(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        for path, value in changes.items():
            *parents, name = path.split("__")
            node = config
            for parent in parents:
                node = node[parent]
            node[name] = value
        (folder / "config.json").write_text(json.dumps(config))

    return edit


def edit_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        state = load_file(folder / "model.safetensors")
        change(state)
        save_file(state, folder / "model.safetensors")

    return edit


def edit_vocabulary(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        vocabulary = json.loads((folder / "vocab.json").read_text())
        change(vocabulary)
        (folder / "vocab.json").write_text(json.dumps(vocabulary))

    return edit


HEAD = "gpt.mel_head.weight"
BROKEN: list[tuple[Callable[[Path], object], str]] = [
    (lambda folder: (folder / "config.json").unlink(), r"config\.json cannot be read"),
    (lambda folder: (folder / "config.json").write_text("{"), r"config\.json does not fit"),
    (edit_config(format=2), "format is 2, this server reads 1"),
    (edit_config(output_sample_rate=22050), "clients expect 24000"),
    (edit_config(gpt__heads=3), "not a multiple of gpt.heads"),
    (edit_config(gpt__lairs=3), "lairs"),
    (edit_config(gpt__layers="two"), "gpt.layers"),
    (edit_config(gpt__stop_audio_token=34), "below gpt.num_audio_tokens"),
    (edit_config(gpt__code_stride_len=1000), "not a multiple of the decoder's hop"),
    (edit_config(max_segment_tokens=81), "max_segment_tokens 81"),
    (edit_config(languages=[]), "languages is empty"),
    (edit_config(gpt__model_dim=128), r"gpt of model\.safetensors does not fit: .*config\.json means \(.*128"),
    (edit_config(decoder__upsample_initial_channel=64), "hifigan_decoder.waveform_decoder of"),
    (lambda folder: (folder / "vocab.json").unlink(), r"vocab\.json"),
    (lambda folder: (folder / "vocab.json").write_text("{}"), r"vocab\.json"),
    (edit_config(gpt__start_text_token=2), "START"),
    (edit_config(languages=["en", "tlh"]), "tlh"),
    (lambda folder: (folder / "model.safetensors").unlink(), r"model\.safetensors is missing"),
    (lambda folder: (folder / "model.safetensors").write_bytes(b"\x80\x04pickle"), "cannot be read"),
    (edit_weights(lambda state: state.pop(HEAD)), "code_head.weight is missing"),
    (
        edit_weights(lambda state: state.update({HEAD: state[HEAD][:5].clone()})),
        r"code_head.weight has shape \(5, 64\)",
    ),
    (edit_weights(lambda state: state[HEAD].fill_(torch.nan)), "code_head.weight holds values that are not finite"),
    (edit_weights(lambda state: state.pop("mel_stats")), "lacks mel_stats"),
    (
        edit_weights(lambda state: state.update({"hifigan_decoder.waveform_decoder.extra": torch.ones(1)})),
        "extra does not belong there",
    ),
]


@pytest.mark.parametrize(("break_it", "says"), BROKEN, ids=[says[:40] for _, says in BROKEN])
def test_broken_models_are_refused(tmp_path: Path, break_it: Callable[[Path], object], says: str) -> None:
    folder = tiny_xtts(tmp_path / "tiny")
    break_it(folder)
    with pytest.raises(ModelError, match=says) as refused:
        load(folder, CPU)
    assert "model tiny" in refused.value.message or "vocab.json" in refused.value.message
    assert len(refused.value.message) < 600


def test_a_good_model_loads(tmp_path: Path) -> None:
    model = load(tiny_xtts(tmp_path / "tiny"), CPU)
    assert model.config.name == "tiny"
    assert sum(parameter.numel() for parameter in model.gpt.parameters()) < 1e6


def test_the_same_seed_writes_the_same_model(tmp_path: Path) -> None:
    first, again = tiny_xtts(tmp_path / "a", seed=4), tiny_xtts(tmp_path / "b", seed=4)
    assert (first / "model.safetensors").read_bytes() == (again / "model.safetensors").read_bytes()
    assert (first / "model.safetensors").read_bytes() != (tiny_xtts(tmp_path / "c") / "model.safetensors").read_bytes()
