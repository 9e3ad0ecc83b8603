"""An original checkpoint becomes the serving format: the same model, and nothing of it is run."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from more_server.errors import ModelError, StorageError
from more_server.xtts import convert as module
from more_server.xtts.checkpoint import fold_weight_norm, read_checkpoint
from more_server.xtts.config import XttsConfig, read_config
from more_server.xtts.convert import convert
from more_server.xtts.layout import check_shapes, read_header
from more_server.xtts.vocabulary import check_vocabulary
from tests.models.originals import FULL, LANGUAGES, coqui_model, write_original, write_vocabulary

GENERATOR = "hifigan_decoder.waveform_decoder."


def run(source: Path, **more: Any) -> XttsConfig:
    return convert(source, source.parent / "out", name="out", licence="test licence", **more)


def refused(source: Path) -> str:
    """The reason; nothing may be left beside the source."""
    before = set(source.parent.iterdir())
    with pytest.raises((ModelError, StorageError)) as caught:
        run(source)
    assert set(source.parent.iterdir()) == before
    return caught.value.message


def change(folder: Path, mend: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Save model.pth again with other weights."""
    state = dict(read_checkpoint(folder / "model.pth")["model"])
    mend(state)
    replace(folder / "model.pth", {"model": state})


def replace(path: Path, content: object) -> None:
    stage = path.with_suffix(".new")
    torch.save(content, stage)
    stage.replace(path)


def folded(generator: torch.nn.Module) -> torch.nn.Module:
    for part in generator.modules():
        if torch.nn.utils.parametrize.is_parametrized(part, "weight"):
            torch.nn.utils.parametrize.remove_parametrizations(part, "weight")
    return generator


def test_values_are_coquis_own(original: Path, coqui: Any) -> None:
    config = run(original)
    state = load_file(original.parent / "out" / "model.safetensors")
    own = coqui.state_dict()
    plain = [name for name in state if name in own]
    assert all(torch.equal(state[name], own[name]) for name in plain)
    assert len(plain) == len(own) - 2 * sum(name.endswith("original0") for name in own)
    assert check_shapes({name: tuple(tensor.shape) for name, tensor in state.items()}, config) == []


def test_folded_weights_speak_like_weight_norm(original: Path, coqui: Any) -> None:
    run(original)
    state = load_file(original.parent / "out" / "model.safetensors")
    fresh = folded(type(coqui)(coqui.config).hifigan_decoder.waveform_decoder)
    fresh.load_state_dict({n.removeprefix(GENERATOR): t for n, t in state.items() if n.startswith(GENERATOR)})
    latents, speaker = torch.randn(1, 64, 9), torch.randn(1, 512, 1)
    with torch.no_grad():
        ours, theirs = fresh(latents, g=speaker), coqui.hifigan_decoder.waveform_decoder(latents, g=speaker)
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()


@pytest.mark.parametrize("transposed", [False, True])
def test_both_spellings_of_weight_norm(transposed: bool) -> None:
    kind = torch.nn.ConvTranspose1d if transposed else torch.nn.Conv1d
    conv = torch.nn.utils.parametrizations.weight_norm(kind(6, 4, 3))
    with torch.no_grad():
        conv.parametrizations.weight.original0.mul_(1.7)
    state = {name.removeprefix("parametrizations."): value for name, value in conv.state_dict().items()}
    new = fold_weight_norm({f"x.{n}": v for n, v in conv.state_dict().items()}, Path("m"))
    old = {"x.weight_g": state["weight.original0"], "x.weight_v": state["weight.original1"], "x.bias": conv.bias}
    assert new.keys() == {"x.weight", "x.bias"}
    torch.testing.assert_close(new["x.weight"], conv.weight)
    assert torch.equal(fold_weight_norm(old, Path("m"))["x.weight"], new["x.weight"])
    with pytest.raises(ModelError, match=r"weight norm of x is incomplete"):
        fold_weight_norm({"x.weight_g": old["x.weight_g"]}, Path("m"))


def test_config_and_vocabulary(original: Path) -> None:
    config = run(original)
    out = original.parent / "out"
    assert config == read_config(out)
    assert config.languages == LANGUAGES
    assert (config.gpt.start_text_token, config.gpt.stop_text_token) == (1, 0)
    assert (config.gpt.max_mel_tokens, config.gpt.code_stride_len) == (60, 1024)
    assert (config.conditioning.n_fft, config.conditioning.win_length) == (2048, 1024)
    assert 4 <= config.max_segment_tokens <= config.gpt.max_text_tokens
    check_vocabulary(out / "vocab.json", config)
    assert len({path.stat().st_mode for path in out.iterdir()}) == 1
    assert "test licence" in (out / "README.md").read_text()


def test_studio_voices(original: Path) -> None:
    run(original)
    voices = torch.load(original / "speakers_xtts.pth", weights_only=True)
    out = load_file(original.parent / "out" / "speakers.safetensors")
    assert len(out) == 4
    ana = voices["Ana Florence"]
    assert torch.equal(out["Ana Florence/conditioning"], ana["gpt_cond_latent"][0])
    assert torch.equal(out["Ana Florence/speaker_embedding"], ana["speaker_embedding"][0, :, 0])


def test_dvae_is_kept_for_training(original: Path) -> None:
    weights = {"codebook.embed": torch.randn(16, 32), "encoder.0.0.weight": torch.randn(8, 80, 3)}
    torch.save(weights, original / "dvae.pth")
    run(original)
    assert load_file(original.parent / "out" / "dvae.safetensors").keys() == weights.keys()
    shutil.rmtree(original.parent / "out")
    replace(original / "dvae.pth", {"codebook.embed": torch.randn(16, 31)})
    assert "DVAE of 32 codes" in refused(original)


def test_what_the_trainer_adds_is_dropped(original: Path) -> None:
    def as_trained(state: dict[str, torch.Tensor]) -> None:
        weights = {f"xtts.{name}": tensor for name, tensor in state.items()}
        weights["xtts.gpt.gpt.wte.weight"] = weights["xtts.gpt.mel_embedding.weight"]
        weights["xtts.gpt.gpt_inference.lm_head.0.weight"] = torch.ones(3)
        weights["xtts.gpt.gpt.h.0.attn.bias"] = torch.ones(1, 1, 4, 4)
        weights["xtts.gpt.gpt.h.1.attn.masked_bias"] = torch.tensor(-1e4)
        weights["torch_mel_spectrogram_style_encoder.mel_norms"] = torch.ones(80)
        weights["torch_mel_spectrogram_dvae.mel_norms"] = torch.ones(80)
        weights["dvae.codebook.embed"] = torch.ones(4, 4)
        state.clear()
        state.update(weights)

    change(original, as_trained)
    config = run(original)
    header = read_header(original.parent / "out" / "model.safetensors")
    assert check_shapes({name: info.shape for name, info in header.items()}, config) == []


def test_half_precision_stays_half(original: Path) -> None:
    change(original, lambda state: state.update({n: t.half() for n, t in state.items() if t.is_floating_point()}))
    run(original)
    header = read_header(original.parent / "out" / "model.safetensors")
    assert {info.dtype for info in header.values()} == {"F16", "I64"}


def test_tied_weights_are_written_apart(original: Path) -> None:
    def tie(state: dict[str, torch.Tensor]) -> None:
        state["gpt.text_head.weight"] = state["gpt.text_embedding.weight"]
        block = torch.randn(2, 64)
        state["gpt.gpt.ln_f.weight"], state["gpt.gpt.ln_f.bias"] = block[0], block[1]

    change(original, tie)
    run(original)
    state = load_file(original.parent / "out" / "model.safetensors")
    assert torch.equal(state["gpt.text_head.weight"], state["gpt.text_embedding.weight"])


def test_mel_stats_from_their_own_file(original: Path) -> None:
    change(original, lambda state: state.pop("mel_stats"))
    assert "mel_stats is missing" in refused(original)
    torch.save(torch.full((80,), 3.0), original / "mel_stats.pth")
    run(original)
    assert load_file(original.parent / "out" / "model.safetensors")["mel_stats"].unique().tolist() == [3.0]


class Evil:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.witness),)


class Stranger:
    """A class that no allow-list knows."""


@pytest.mark.parametrize("file", ["model.pth", "speakers_xtts.pth", "mel_stats.pth", "dvae.pth"])
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_runs_code_is_refused_unrun(original: Path, file: str, zipped: bool) -> None:
    witness = original.parent / "ran"
    (original / file).unlink(missing_ok=True)
    if file == "mel_stats.pth":
        change(original, lambda state: state.pop("mel_stats"))
    torch.save({"model": Evil(witness)}, original / file, _use_new_zipfile_serialization=zipped)
    reason = refused(original)
    assert file in reason
    assert "posix.mkdir" in reason
    assert not witness.exists()


def test_an_unknown_class_is_named(original: Path) -> None:
    replace(original / "model.pth", {"config": Stranger(), "model": {}})
    assert f"{__name__}.Stranger" in refused(original)


def test_our_allow_list_does_not_outlive_the_reading(original: Path) -> None:
    before = torch.serialization.get_safe_globals()
    run(original)
    assert set(torch.serialization.get_safe_globals()) == set(before)


@pytest.mark.parametrize(
    ("mend", "reason"),
    [
        (lambda state: state.pop("gpt.mel_head.weight"), "gpt.mel_head.weight is missing"),
        (lambda state: state.update(surprise=torch.ones(1)), "surprise is unexpected"),
        (
            lambda state: state.update({"gpt.text_head.bias": torch.ones(3)}),
            r"gpt.text_head.bias has shape [3], config.json means [53]",
        ),
        (lambda state: state["gpt.final_norm.bias"].fill_(float("nan")), "gpt.final_norm.bias"),
        (
            lambda state: state[GENERATOR + "ups.0.weight_v"].zero_(),
            "hifigan_decoder.waveform_decoder.ups.0.weight for model.safetensors holds values that are not finite",
        ),
        (lambda state: state.pop(GENERATOR + "ups.0.weight_g"), "weight norm"),
        (lambda state: state.update({"xtts.gpt.final_norm.bias": torch.ones(64)}), "twice"),
        (
            lambda state: state.update({"gpt.final_norm.bias": torch.ones(64, dtype=torch.float64)}),
            "fp32, fp16 and bf16",
        ),
        (lambda state: state.update({"gpt.final_norm.bias": torch.ones(1).expand(64)}), "no plain tensor"),
        (lambda state: state.update({"gpt.final_norm.bias": torch.ones(64).to_sparse()}), "no plain tensor"),
        (lambda state: state.clear(), "no weights"),
    ],
)
def test_weights_that_do_not_fit(original: Path, mend: Callable[[Any], object], reason: str) -> None:
    change(original, mend)
    assert reason in refused(original)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("gpt_layers", 3, "gpt.gpt.h.2.ln_1.weight is missing"),
        ("gpt_n_heads", 5, "not a multiple of gpt.heads"),
        ("gpt_use_perceiver_resampler", False, "XTTS v1"),
        ("decoder_input_dim", 1024, "decoder_input_dim"),
        ("output_sample_rate", 22050, "clients expect 24000"),
        ("output_hop_length", 300, "output_hop_length"),
        ("gpt_number_text_tokens", 20, "the model has 20 text tokens"),
        ("gpt_start_text_token", 7, "[START] is 1, config.json means 7"),
        ("gpt_stop_audio_token", 900, "gpt.stop_audio_token"),
        ("gpt_layers", None, "gpt_layers"),
    ],
)
def test_config_that_does_not_fit(original: Path, field: str, value: object, reason: str) -> None:
    path = original / "config.json"
    config = json.loads(path.read_text())
    config["model_args"][field] = value
    path.unlink()
    path.write_text(json.dumps(config))
    message = refused(original)
    assert reason in message
    assert ".partial" not in message


def test_a_language_without_its_token(original: Path) -> None:
    (original / "vocab.json").unlink()
    write_vocabulary(original / "vocab.json", LANGUAGES[:-2])
    assert "no token for ja, hi" in refused(original)


@pytest.mark.parametrize("file", ["model.pth", "config.json", "vocab.json"])
def test_missing_and_cut_off_files(original: Path, file: str) -> None:
    path = original / file
    content = path.read_bytes()[:-100]
    path.unlink()
    assert f"{file} missing" in refused(original)
    path.write_bytes(content)
    assert file in refused(original)


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        KeyboardInterrupt(),
    ],
)
def test_nothing_half_written_stays(original: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(_tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setattr(module, "save_file", fail)
    if isinstance(error, KeyboardInterrupt):
        with pytest.raises(KeyboardInterrupt):
            run(original)
    else:
        assert "No space left" in refused(original)
    assert sorted(path.name for path in original.parent.iterdir()) == ["original"]


def test_a_real_full_disk(original: Path) -> None:
    """A limit on file size, which the kernel enforces as it does a full disk."""
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    old_limit, old_handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.getsignal(signal.SIGXFSZ)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, old_limit[1]))
    try:
        reason = refused(original)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert "File too large" in reason


def test_the_target_is_never_overwritten(original: Path) -> None:
    (original.parent / "out").mkdir()
    assert "exists already" in refused(original)


def test_progress_ends_where_it_says(original: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    run(original, on_progress=lambda *step: seen.append(step))
    assert {what for what, _, _ in seen} == {
        "checking the weights",
        "writing model.safetensors",
        "writing speakers.safetensors",
    }
    last = {what: (done, total) for what, done, total in seen}
    assert all(done == total > 0 for done, total in last.values())


def test_the_server_loads_what_is_written(original: Path) -> None:
    from more_server.xtts.load import load

    run(original)
    xtts = load(original.parent / "out", torch.device("cpu"))
    assert xtts.config.languages == LANGUAGES


@pytest.mark.slow
def test_full_size(tmp_path: Path) -> None:
    """XTTS-v2's own sizes: 1.9 GB of fp32."""
    source = write_original(tmp_path / "original", coqui_model(**FULL))
    try:
        config = run(source)
        path = tmp_path / "out" / "model.safetensors"
        header = read_header(path)
        assert (config.gpt.layers, config.gpt.model_dim, config.gpt.max_mel_tokens) == (30, 1024, 605)
        assert check_shapes({name: info.shape for name, info in header.items()}, config) == []
        assert path.stat().st_size > 1.7e9
    finally:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        shutil.rmtree(source)
