"""Word errors, and a recogniser that hears what it is told to."""

from pathlib import Path

import numpy as np
import pytest
from more_train.evaluate.exam import Wanted, from_sentences
from more_train.evaluate.hearing import Listener, edits, hear, units
from more_train.evaluate.judge import figures, measured

from more_server.errors import BadInput
from more_server.settings import Settings
from more_server.speech import Audio
from tests.train.evaluate.material import reading, said, spoken


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [("", "", 0), ("abc", "", 3), ("", "ab", 2), ("kitten", "sitting", 3), ("abcd", "bcde", 2)],
)
def test_edits(one: str, other: str, count: int) -> None:
    assert edits(one, other) == edits(other, one) == count


def test_texts_are_compared_as_they_are_read_aloud() -> None:
    assert hear("It's 7 o'clock, Mr. Smith!", "its seven oclock mister smith", "en").errors == 0
    assert hear("One two three", "one too three four", "en") == ("one too three four", 2, 3)
    assert hear("One two three", "", "en").errors == 3
    assert units("今天天气很好。", "zh-cn") == list("今天天气很好")
    assert hear("今天天气很好。", "今天天汽很好", "zh-cn") == ("今天天汽很好", 1, 6)


def test_a_recogniser_listens_to_speech_and_reference(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper", reason="pip install faster-whisper, to count word errors")
    from tests.train.dataset.whisper import whisper

    listener = Listener(whisper(tmp_path / "tiny", "the train to the town leaves"))
    assert listener.name == "tiny"
    exam = from_sentences(Settings(), None, Wanted(count=1))
    (trial,) = exam.trials
    one = said(trial, reading("nothing of this matters"))
    (sentence,) = measured(exam, spoken(one), listener, lambda done: None)
    assert sentence.heard == "the train to the town leaves"
    assert (sentence.words, sentence.word_errors) == (10, 9)  # both begin with "the"
    assert sentence.reference_word_errors == 9
    assert figures((sentence,), spoken(one)).word_error_rate == 0.9
    assert listener(Audio(np.zeros(24_000 * 31, np.float32), 24_000), "en") is None


def test_what_is_no_recogniser(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BadInput, match=r"tokenizer\.json|is not a folder"):
            Listener(folder)
