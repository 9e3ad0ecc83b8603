"""A real Whisper in CTranslate2's format that says what it is told to, whatever it hears.

Its layers add nothing to what they are given, so each position of the decoder asks for the token that was written into
its embedding. The vocabulary has Whisper's 51,865 tokens, by whose number CTranslate2 tells that it is multilingual.
"""

from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models

TOKENS = 51_865
WIDTH, HEADS, MELS = 64, 2, 80
FRAMES, POSITIONS = 1500, 448
PROMPT = 4
"""Tokens in front of what is said: start, language, task, no timestamps."""
UNKNOWN = "unknown"
SPECIAL = ("<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>",
           "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>")  # fmt: skip
SURE, UNSURE = 1.0, 0.16
"""Sizes of the embeddings, which are the logits' too: a token that is asked for has a log-probability of 0 and -1.6."""


def whisper(folder: Path, says: str, *, sure: bool = True) -> Path:
    """Write a model that hears `says` in everything; unsure, it is barely likelier than the rest."""
    from ctranslate2.specs import whisper_spec

    words = [f" {word}" for word in says.split()]
    vocabulary = [UNKNOWN, *dict.fromkeys(words)]
    vocabulary += [f"w{number}" for number in range(TOKENS - len(vocabulary) - len(SPECIAL) - 1501)]
    vocabulary += [*SPECIAL, *(f"<|{number * 0.02:.2f}|>" for number in range(1501))]
    folder.mkdir(parents=True)
    spec = whisper_spec.WhisperSpec(1, HEADS, 1, HEADS)
    random = np.random.default_rng(3).normal(size=(TOKENS, WIDTH)).astype(np.float32)
    _fill(spec, (SURE if sure else UNSURE) * random)
    wanted = [*(vocabulary.index(word) for word in words), vocabulary.index("<|endoftext|>")]
    positions = np.zeros((POSITIONS, WIDTH), np.float32)
    for place, token in enumerate(wanted, start=PROMPT - 1):
        positions[place] = 100 * spec.decoder.embeddings.weight[token]
    spec.decoder.position_encodings.encodings = positions
    spec.register_vocabulary(vocabulary)
    spec.config.suppress_ids = []
    spec.config.suppress_ids_begin = []
    spec.config.lang_ids = [vocabulary.index("<|en|>"), vocabulary.index("<|de|>")]
    spec.config.alignment_heads = [(0, 0)]
    spec.validate()
    spec.save(str(folder))
    _write_tokenizer(folder / "tokenizer.json", vocabulary)
    return folder


def _fill(spec: Any, embeddings: np.ndarray) -> None:
    """Norms that are ones, an embedding, and zeros everywhere else."""
    for part in (spec.encoder, spec.decoder):
        _norm(part.layer_norm)
        for layer in part.layer:
            for name in ("self_attention", "attention", "ffn"):
                if block := getattr(layer, name, None):
                    _norm(block.layer_norm)
            _linear(layer.self_attention.linear[0], 3 * WIDTH, WIDTH)
            _linear(layer.self_attention.linear[1], WIDTH, WIDTH)
            _linear(layer.ffn.linear_0, 4 * WIDTH, WIDTH)
            _linear(layer.ffn.linear_1, WIDTH, 4 * WIDTH)
    for linear, size in zip(spec.decoder.layer[0].attention.linear, (1, 2, 1), strict=True):
        _linear(linear, size * WIDTH, WIDTH)
    for conv, channels in ((spec.encoder.conv1, MELS), (spec.encoder.conv2, WIDTH)):
        conv.weight, conv.bias = np.zeros((WIDTH, channels, 3), np.float32), np.zeros(WIDTH, np.float32)
    spec.encoder.position_encodings.encodings = np.zeros((FRAMES, WIDTH), np.float32)
    spec.decoder.embeddings.weight = spec.decoder.projection.weight = embeddings


def _norm(norm: Any) -> None:
    norm.gamma, norm.beta = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)


def _linear(linear: Any, outputs: int, inputs: int) -> None:
    linear.weight, linear.bias = np.zeros((outputs, inputs), np.float32), np.zeros(outputs, np.float32)


def _write_tokenizer(path: Path, vocabulary: list[str]) -> None:
    """As faster-whisper reads it: words by their numbers, joined as they are."""
    numbers = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(numbers, UNKNOWN))
    tokenizer.decoder = decoders.Fuse()
    tokenizer.save(str(path))
