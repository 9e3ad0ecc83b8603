"""The finished model speaks, without any of the server's guards: what is measured is the model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from more_server.xtts.load import Xtts
from more_server.xtts.passes import RowPasses


@dataclass(frozen=True)
class Said:
    """One sentence spoken."""

    audio: Tensor
    """(n,) at the output rate."""
    codes: int
    stopped: bool
    """By itself, before the longest that the model can say."""


@torch.inference_mode()
def say(
    model: Xtts,
    texts: Sequence[tuple[str, str]],
    conditioning: Tensor,
    embedding: Tensor,
    *,
    temperature: float,
    top_k: int,
    seed: int,
    check: Callable[[], None],
) -> list[Said]:
    """Texts with their languages, all at once and by one voice: conditioning (32, width), embedding (width,)."""
    gpt, config = model.gpt, model.config.gpt
    passes = RowPasses(gpt, len(texts), together=True)
    generator = torch.Generator().manual_seed(seed)
    prompts = [gpt.prompt(conditioning, model.tokenizer.encode(text, language)) for text, language in texts]
    outputs, logits = passes.prefill(prompts, range(len(texts)), [conditioning] * len(texts))
    latents: list[list[Tensor]] = [[] for _ in texts]
    rows = list(range(len(texts)))
    stopped = set[int]()
    for count in range(1, gpt.most_codes + 1):
        check()
        codes = _drawn(logits.cpu(), temperature, top_k, generator)
        going = [index for index, code in enumerate(codes.tolist()) if code != config.stop_audio_token]
        stopped |= {row for index, row in enumerate(rows) if index not in going}
        for index in going:
            latents[rows[index]].append(outputs[index])
        rows, kept = [rows[index] for index in going], codes[going].to(model.device)
        if not rows:
            break
        slots = torch.tensor(rows, device=model.device)
        places = torch.tensor([len(prompts[row]) + count - 1 for row in rows], device=model.device)
        outputs, logits = passes.step(kept, torch.full_like(kept, count), slots, places, (len(texts), passes.positions))
    return [_heard(model, latents[row], embedding, row in stopped) for row in range(len(texts))]


def _drawn(logits: Tensor, temperature: float, top_k: int, generator: torch.Generator) -> Tensor:
    best, codes = (logits / temperature).topk(min(top_k, logits.shape[-1]), dim=-1)
    return codes.gather(1, torch.multinomial(best.softmax(dim=-1), 1, generator=generator))[:, 0]


def _heard(model: Xtts, latents: Sequence[Tensor], embedding: Tensor, stopped: bool) -> Said:
    if not latents:
        return Said(torch.zeros(1), 0, stopped)
    return Said(model.decoder.decode(torch.stack(list(latents)), embedding).float().cpu(), len(latents), stopped)
