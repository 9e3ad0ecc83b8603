"""What the recipe's tests share: a vocabulary, plans and clips of a size that takes no time."""

from pathlib import Path

import torch
from more_train.nano.config import Nano
from more_train.nano.packing import Spoken
from more_train.nano.presets import smoke
from more_train.nano.speech import CODE_SAMPLES, Word
from more_train.nano.tokenizer import write_vocabulary
from msgspec.structs import replace

from more_server.xtts.tokenizer import Tokenizer


def settings(**changes: object) -> Nano:
    return replace(smoke(), **changes)


def tokenizer(folder: Path, *languages: str) -> Tokenizer:
    write_vocabulary(folder / "vocab.json", languages or ("en",))
    return Tokenizer(folder / "vocab.json")


def spoken(text_tokens: int, codes: int, *, reference: int = 0, seed: int = 0) -> Spoken:
    """A clip of one word of random codes and mels; tokens: of the text, the language's among them."""
    draw = torch.Generator().manual_seed(seed)
    return Spoken(
        tokens=[3, *range(5, 4 + text_tokens)],
        codes=torch.randint(0, 32, (codes,), generator=draw),
        words=[Word(0, text_tokens - 1, 0), Word(max(1, text_tokens // 2), 1, codes * CODE_SAMPLES // 2)],
        mels=torch.randn(80, 4 * codes, generator=draw),
        reference=reference,
    )
