"""A step of fine-tuning against coqui's own: the same weights, the same batch, in turns.

    PYTHONPATH=train OMP_NUM_THREADS=1 python -m tests.bench.finetune [tiny|mid|nano] [--device cuda] [--rounds 15]

coqui: GPT.forward as gpt_trainer.py calls it, backward, AdamW. Ours: the same, and gradients clipped, the running
average moved, and the loss looked at. Both in fp32 on a CPU and under bf16 autocast on a GPU, with GPT-2's dropout.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from more_train.gpt_loss import Row, counts, load_trained, make_batch
from more_train.optimise import Optimisation, Optimiser

from more_server.testing import tiny_config, tiny_xtts, xtts_v2_config
from more_server.xtts.config import XttsConfig, read_config
from tests.xtts.reference import coqui_xtts

Step = Callable[[], float]


def config_of(size: str) -> XttsConfig:
    tiny = tiny_config()
    if size == "full":
        return xtts_v2_config()
    if size == "mid":
        gpt = msgspec.structs.replace(
            tiny.gpt, layers=8, model_dim=512, heads=8, max_text_tokens=200, max_mel_tokens=300, num_audio_tokens=1026
        )
        gpt = msgspec.structs.replace(gpt, start_audio_token=1024, stop_audio_token=1025)
        return msgspec.structs.replace(tiny, gpt=gpt, max_segment_tokens=200)
    return tiny


def draw_rows(config: XttsConfig, size: int) -> list[Row]:
    """Clips as a bucket holds them: half to nine tenths of the longest text and codes that the model takes."""
    random = np.random.default_rng(3)
    gpt = config.gpt
    rows = []
    for share in np.linspace(0.5, 0.65, size):
        text, codes = int(share * min(gpt.max_text_tokens, 200)), int(share * min(gpt.max_mel_tokens, 400))
        rows.append(
            Row(
                random.integers(3, gpt.number_text_tokens, text).tolist(),
                random.integers(0, gpt.num_audio_tokens - 2, codes).tolist(),
            )
        )
    return rows


def our_step(folder: Path, rows: list[Row], mel: torch.Tensor, device: torch.device) -> Step:
    config = read_config(folder)
    module = load_trained(folder, device).train()
    module.dropout = 0.1
    optimiser = Optimiser(module, Optimisation(learning_rate=5e-6, total_steps=1000))
    text_count, code_count = (sum(column) for column in zip(*map(counts, rows), strict=True))

    def step() -> float:
        batch = make_batch(rows, mel, config.gpt, show_text_stop=True).to(device)
        with autocast(device):
            text, codes = module(batch)
        loss = 0.01 * text / text_count + codes / code_count
        loss.backward()
        found = float(loss.detach())
        optimiser.step()
        return found

    return step


def coqui_step(folder: Path, rows: list[Row], mel: torch.Tensor, device: torch.device) -> Step:
    gpt: Any = coqui_xtts(folder).gpt.to(device).train()
    config = read_config(folder)
    # GPTTrainerConfig's own numbers.
    adam = torch.optim.AdamW(gpt.parameters(), lr=5e-6, betas=(0.9, 0.96), eps=1e-8, weight_decay=1e-2)
    pad = torch.nn.utils.rnn.pad_sequence
    text = pad([torch.tensor(row.tokens) for row in rows], batch_first=True).to(device)
    codes = pad([torch.tensor(row.codes) for row in rows], batch_first=True).to(device)
    lengths = torch.tensor([len(row.tokens) for row in rows], device=device)
    samples = torch.tensor([len(row.codes) * config.gpt.code_stride_len for row in rows], device=device)
    reference = mel[:, None].to(device)

    def step() -> float:
        with autocast(device):
            text_loss, code_loss, _ = gpt(text, lengths, codes, samples, cond_mels=reference)
        loss = 0.01 * text_loss + code_loss
        loss.backward()
        found = float(loss.detach())
        adam.step()
        adam.zero_grad(set_to_none=True)
        return found

    return step


def autocast(device: torch.device) -> Any:
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def measure(size: str, device: torch.device, rows: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        config = read_config(Path("models/nano")) if size == "nano" else config_of(size)
        folder = Path("models/nano") if size == "nano" else tiny_xtts(Path(place) / size, config=config)
        drawn = draw_rows(config, rows)
        frames = round(config.conditioning.chunk_seconds * config.sample_rate / config.conditioning.hop_length)
        mel = torch.randn(rows, config.conditioning.n_mels, frames, generator=torch.Generator().manual_seed(0))
        steps = {kind: make(folder, drawn, mel, device) for kind, make in (("coqui", coqui_step), ("ours", our_step))}
        times: dict[str, list[float]] = {kind: [] for kind in steps}
        for number in range(rounds + 2):
            for kind in sorted(steps, reverse=number % 2 == 1):
                began = time.perf_counter()
                steps[kind]()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                if number > 1:  # the first ones make room
                    times[kind].append(time.perf_counter() - began)
    medians = {kind: statistics.median(some) for kind, some in times.items()}
    return {
        "size": size,
        "device": str(device),
        "rows": rows,
        "threads": torch.get_num_threads(),
        **{f"{kind}_ms": round(1000 * median, 1) for kind, median in medians.items()},
        "times_as_fast": round(medians["coqui"] / medians["ours"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", default=["tiny", "mid"], help="tiny, mid, nano, full")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    for size in asked.sizes:
        print(json.dumps(measure(size, torch.device(asked.device), asked.rows, asked.rounds)))


if __name__ == "__main__":
    main()
