"""The vocabulary: a token for each character, as the server's tokenizer reads it."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer, models

from more_server.files import write_file
from more_server.xtts.tokenizer import SPACE
from more_train.nano.phrases import GRAMMARS

MARKS = "'.,?!-"
STOP, START, UNKNOWN = 0, 1, 2
SPECIAL = ("[STOP]", "[START]", "[UNK]")


def characters(languages: Sequence[str]) -> str:
    """Letters and marks of the languages; each is a token."""
    letters = {letter for language in languages for letter in GRAMMARS[language].letters}
    openings = {mark for language in languages for mark in GRAMMARS[language].opening}
    if "¿" in openings:
        openings.add("¡")
    return "abcdefghijklmnopqrstuvwxyz" + "".join(sorted(letters)) + MARKS + "".join(sorted(openings))


def vocabulary(languages: Sequence[str]) -> dict[str, int]:
    """Tokens and their ids."""
    special = (*SPECIAL, *(f"[{language}]" for language in languages), SPACE)
    return {token: index for index, token in enumerate((*special, *characters(languages)))}


def write_vocabulary(path: Path, languages: Sequence[str]) -> None:
    """Write vocab.json of a model in the serving format."""
    tokens = vocabulary(languages)
    made = Tokenizer(models.BPE(vocab=tokens, merges=[], unk_token=SPECIAL[UNKNOWN]))
    made.add_special_tokens([token for token in tokens if len(token) > 1])
    write_file(path, made.to_str(pretty=True).encode())
