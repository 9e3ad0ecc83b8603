"""Text to tokens: nothing unknown reaches the model."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from more_server.testing import tiny_config, write_vocabulary
from more_server.text import LANGUAGES
from more_server.xtts.tokenizer import Tokenizer

NANO = Tokenizer(Path("models/nano/vocab.json"))
UNKNOWN = 2


def test_language_words_and_spaces() -> None:
    assert NANO.spelling("Hello,  there", "en") == "[en]hello,[SPACE]there"
    assert NANO.encode("ab a", "en") == (3, 5, 6, 4, 5)
    assert NANO.count("ab a", "en") == 5


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        ("café naïve", "cafe[SPACE]naive"),
        ("Straße", "strasse"),
        ("wait: now; go", "wait,[SPACE]now,[SPACE]go"),
        ("it’s", "it's"),
        ("Привет", "privet"),
        ("a\u200bb", "ab"),
    ],
)
def test_what_the_vocabulary_lacks_is_written_in_its_letters(text: str, spelling: str) -> None:
    assert NANO.spelling(text, "en") == f"[en]{spelling}"


@given(st.text(max_size=200))
def test_no_unknown_token_whatever_the_text(text: str) -> None:
    assert UNKNOWN not in NANO.encode(text, "en")


def test_turkish_dots(tmp_path: Path) -> None:
    write_vocabulary(tmp_path / "vocab.json", tiny_config())
    tokenizer = Tokenizer(tmp_path / "vocab.json")
    assert tokenizer.spelling("İIi", "tr") == "[tr]iii"  # ı is written i where the vocabulary lacks it
    for language in LANGUAGES:
        first = tokenizer.encode("a", language)[0]
        assert first == tokenizer.encode("b", language)[0] != UNKNOWN
