"""Losses and codes against coqui's own forward pass and its own DVAE, on the same weights and the same batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from more_train.dvae import load_dvae
from more_train.gpt_loss import Batch, Row, Trained, attend, counts, drop, file_tensors, load_trained, make_batch
from safetensors.torch import load_file, save_file

from more_server.testing import tiny_config
from more_server.xtts.config import XttsConfig, read_config
from tests.train.finetune.material import coqui_dvae, tiny_trainable
from tests.xtts.reference import coqui_xtts

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["tiny", "nano"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "nano":
        return Path("models/nano")
    return tiny_trainable(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="module")
def pair(folder: Path) -> tuple[Trained, Any]:
    return load_trained(folder, CPU).eval(), coqui_xtts(folder).gpt.eval()


def draw_rows(config: XttsConfig) -> tuple[list[Row], torch.Tensor]:
    """Rows of very different lengths, so that everything that is filled up matters."""
    random = np.random.default_rng(2)
    gpt = config.gpt
    rows = [
        Row(
            tokens=random.integers(3, gpt.number_text_tokens, length).tolist(),
            codes=random.integers(0, gpt.num_audio_tokens - 2, count).tolist(),
        )
        for length, count in ((9, 31), (24, 12), (3, 40), (17, 5))
    ]
    return rows, torch.randn(len(rows), 80, 150, generator=torch.Generator().manual_seed(1))


def coqui_losses(gpt: Any, rows: list[Row], reference: torch.Tensor, stride: int) -> tuple[torch.Tensor, torch.Tensor]:
    text = torch.nn.utils.rnn.pad_sequence([torch.tensor(row.tokens) for row in rows], batch_first=True)
    codes = torch.nn.utils.rnn.pad_sequence([torch.tensor(row.codes) for row in rows], batch_first=True)
    lengths = torch.tensor([len(row.tokens) for row in rows])
    samples = torch.tensor([len(row.codes) * stride for row in rows])
    losses = gpt(text, lengths, codes, samples, cond_mels=reference[:, None])
    return losses[0], losses[1]


@pytest.mark.parametrize("size", [1, 4])
def test_the_losses_are_coquis(pair: tuple[Trained, Any], folder: Path, size: int) -> None:
    ours, coqui = pair
    config = read_config(folder)
    rows, reference = draw_rows(config)
    rows, reference = rows[:size], reference[:size]
    sums = ours(make_batch(rows, reference, config.gpt, show_text_stop=False))
    text, codes = (sum(column) for column in zip(*map(counts, rows), strict=True))
    theirs = coqui_losses(coqui, rows, reference, config.gpt.code_stride_len)
    torch.testing.assert_close(sums[0] / text, theirs[0], atol=1e-4, rtol=0)
    torch.testing.assert_close(sums[1] / codes, theirs[1], atol=1e-4, rtol=0)


def test_the_gradients_are_coquis(pair: tuple[Trained, Any], folder: Path) -> None:
    ours, coqui = pair
    config = read_config(folder)
    rows, reference = draw_rows(config)
    sums = ours(make_batch(rows, reference, config.gpt, show_text_stop=False))
    text, codes = (sum(column) for column in zip(*map(counts, rows), strict=True))
    (0.01 * sums[0] / text + sums[1] / codes).backward()
    theirs = coqui_losses(coqui, rows, reference, config.gpt.code_stride_len)
    (0.01 * theirs[0] + theirs[1]).backward()
    gradients = file_tensors({name: value.grad for name, value in ours.named_parameters()})
    compared = 0
    for name, value in coqui.named_parameters():
        if value.grad is not None and f"gpt.{name}" in gradients:
            torch.testing.assert_close(gradients[f"gpt.{name}"], value.grad, atol=1e-4, rtol=1e-3)
            compared += 1
    assert compared == len(gradients)
    ours.zero_grad()


def test_a_shown_text_stop_is_what_serving_sees(pair: tuple[Trained, Any], folder: Path) -> None:
    """The logits behind the text's STOP are those of the pass that serves."""
    ours, _ = pair
    config = read_config(folder)
    rows, reference = draw_rows(config)
    with torch.no_grad():
        sums = ours(make_batch(rows[:1], reference[:1], config.gpt, show_text_stop=True))
        latents = ours.perceiver(ours.conditioning_encoder(reference[:1]).transpose(1, 2))[0]
        prompt = ours.gpt.prompt(latents, rows[0].tokens)
        codes = torch.tensor([*rows[0].codes, *[config.gpt.stop_audio_token] * 4])
        places = torch.arange(1, len(codes))
        hidden = torch.cat([prompt, ours.gpt.embed(codes[:-1], places)])[None]
        for block in ours.gpt.blocks:
            hidden = ours._through(block, hidden)
        logits = ours.gpt.finish(hidden[0, len(prompt) - 1 :])[1]
    torch.testing.assert_close(sums[1], torch.nn.functional.cross_entropy(logits, codes, reduction="sum"))


def test_codes_that_the_reference_gives_away_are_not_counted(folder: Path) -> None:
    config = read_config(folder)
    rows, reference = draw_rows(config)
    heard = Row(rows[0].tokens, rows[0].codes, (4, 20))
    assert counts(heard)[1] == counts(rows[0])[1] - 16
    batch = make_batch([heard], reference[:1], config.gpt, show_text_stop=True)
    kept = [*rows[0].codes[:4], *rows[0].codes[20:], *[config.gpt.stop_audio_token] * 4]
    assert batch.code_targets.tolist() == kept


def test_dropout_leaves_out_its_share_and_keeps_the_mean():
    torch.manual_seed(0)
    values = torch.ones(101, 997, requires_grad=True)
    dropped = drop(values, 0.1)
    left_out = (dropped == 0).float()
    assert left_out.mean().item() == pytest.approx(0.1, abs=0.003)
    assert left_out[::2].mean().item() == pytest.approx(0.1, abs=0.005)
    assert dropped[dropped != 0].unique().tolist() == pytest.approx([1 / 0.9])
    dropped.sum().backward()
    assert torch.equal(values.grad, dropped.detach())
    assert torch.equal(drop(values, 0.0), values)


def test_attention_with_next_to_no_dropout_is_attention():
    query, key, value = torch.randn(3, 2, 4, 33, 16, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(attend(query, key, value, 1e-9), attend(query, key, value, 0.0))


def test_checkpointing_changes_memory_alone(folder: Path) -> None:
    config = read_config(folder)
    rows, reference = draw_rows(config)
    found = []
    for checkpointing in (False, True):
        trained = load_trained(folder, CPU).train()
        trained.dropout, trained.checkpointing = 0.1, checkpointing
        torch.manual_seed(3)
        batch: Batch = make_batch(rows, reference, config.gpt, show_text_stop=True)
        sum(trained(batch)).backward()
        found.append([value.grad for value in trained.parameters()])
    for plain, saved in zip(*found, strict=True):
        torch.testing.assert_close(plain, saved)


@pytest.mark.parametrize("samples", [22_050, 22_528, 30_001])
def test_codes_are_coquis(folder: Path, samples: int) -> None:
    """One code for each 1024 samples; coqui makes one more and drops it later."""
    config = read_config(folder)
    tensors = load_file(folder / "dvae.safetensors")
    stats = torch.full((80,), 4.0)
    ours = load_dvae(folder, config, stats, CPU)
    shape = tensors["codebook.embed"].shape
    coqui = coqui_dvae(
        shape[1],
        hidden=tensors["encoder.0.0.weight"].shape[0],
        width=shape[0],
        blocks=sum(name.startswith("encoder.") and name.endswith(".net.0.weight") for name in tensors),
    )
    coqui.load_state_dict({name: tensor.float() for name, tensor in tensors.items()}, strict=False)
    audio = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(4))
    from TTS.tts.layers.xtts.dvae import dvae_wav_to_mel

    mel = dvae_wav_to_mel(audio[None], mel_norms=stats)
    torch.testing.assert_close(ours.mel(audio), mel)
    codes = ours.encode(audio.numpy())
    assert len(codes) == -(-samples // 1024)
    assert codes.tolist() == coqui.get_codebook_indices(mel)[0, : len(codes)].tolist()
    assert len(set(codes.tolist())) > 3


def test_what_is_trained_has_the_files_names(folder: Path) -> None:
    there = load_file(folder / "model.safetensors")
    ours = file_tensors(load_trained(folder, CPU).state_dict())
    assert set(ours) == {name for name in there if name.startswith("gpt.")}
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, there[name].float())


def test_weights_stored_in_halves_are_trained_in_fp32(tmp_path: Path) -> None:
    folder = tiny_trainable(tmp_path / "tiny", tiny_config())
    halves = {
        name: value.half() if value.is_floating_point() else value
        for name, value in load_file(folder / "model.safetensors").items()
    }
    save_file(halves, folder / "model.safetensors")
    assert {value.dtype for value in load_trained(folder, CPU).parameters()} == {torch.float32}
