"""vocab.json against config.json: a token the model does not have is noise, so it is found before loading."""

import json
from collections.abc import Mapping
from pathlib import Path

from more_server.errors import ModelError
from more_server.xtts.config import XttsConfig


def read_vocabulary(path: Path) -> dict[str, int]:
    """Every token of a Hugging Face tokenizers file with its id; added tokens included.

    Raises ModelError naming the file and the reason.
    """
    try:
        document = json.loads(path.read_bytes())
        tokens = {str(token): _id(index) for token, index in document["model"]["vocab"].items()}
        tokens |= {str(token["content"]): _id(token["id"]) for token in document.get("added_tokens") or []}
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is not a tokenizer of Hugging Face's tokenizers library: {error!r}") from error
    if not tokens:
        raise ModelError(f"{path} has no tokens")
    return tokens


def _id(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a token id")
    return value


def check_vocabulary(path: Path, config: XttsConfig) -> None:
    """Check that the tokenizer and the model mean the same tokens.

    Raises ModelError naming the file and every disagreement: an id past the text embedding, another
    [START] or [STOP], a language without its `[xx]` token.
    """
    problems = vocabulary_problems(read_vocabulary(path), config)
    if problems:
        raise ModelError(f"{path} does not fit config.json: " + "; ".join(problems))


def vocabulary_problems(tokens: Mapping[str, int], config: XttsConfig) -> list[str]:
    """Every disagreement between tokens and config, in words."""
    gpt = config.gpt
    problems = []
    token, highest = max(tokens.items(), key=lambda item: item[1])
    if highest >= gpt.number_text_tokens:
        problems.append(f"token {token!r} has id {highest}, the model has {gpt.number_text_tokens} text tokens")
    for name, expected in (("[START]", gpt.start_text_token), ("[STOP]", gpt.stop_text_token)):
        found = tokens.get(name)
        if found != expected:
            problems.append(f"{name} is {'missing' if found is None else found}, config.json means {expected}")
    missing = [language for language in config.languages if f"[{language}]" not in tokens]
    if missing:
        problems.append(
            f"no token for {', '.join(missing)}; take them out of languages or use the model's own vocabulary"
        )
    return problems
