"""Sentences: always the same, within the vocabulary, and never both trained with and held out."""

from pathlib import Path
from random import Random

import pytest
from more_train.nano.config import Corpus as Settings
from more_train.nano.corpus import Corpus, held_out
from more_train.nano.phrases import GRAMMARS
from more_train.nano.phrases.grammar import SLOT
from more_train.nano.tokenizer import characters
from msgspec.structs import replace

from tests.train.nano.material import tokenizer


@pytest.fixture(scope="module", params=GRAMMARS)
def corpus(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    language = request.param
    return Corpus(language, Settings(), tokenizer(tmp_path_factory.mktemp("corpus"), *GRAMMARS))


def test_training_never_meets_a_held_out_sentence(corpus: Corpus):
    random = Random(5)
    trained = {corpus.sentence(random) for _ in range(1500)}
    kept = corpus.held_out_sentences(100, seed=1)
    assert len(set(kept)) == 100
    assert not any(held_out(text, corpus.settings.held_out) for text in trained)
    assert all(held_out(text, corpus.settings.held_out) for text in kept)


def test_a_sentence_is_held_out_whatever_its_marks_and_case():
    one, other = "The kitchen window is open", "the kitchen window, is open!"
    assert [held_out(one, n) for n in range(2, 40)] == [held_out(other, n) for n in range(2, 40)]


def test_one_sentence_in_so_many_is_held_out():
    found = sum(
        held_out(f"sentence {chr(97 + i % 26)}{chr(97 + i // 26 % 26)}{chr(97 + i // 676)} x", 20) for i in range(4000)
    )
    assert 150 < found < 250  # 200 expected, 13.8 the standard deviation


def test_no_text_goes_beyond_the_vocabulary_or_the_limit(corpus: Corpus):
    random, known = Random(6), set(characters(tuple(GRAMMARS))) | {" "}
    for _ in range(1500):
        text = corpus.sentence(random)
        assert set(text) <= known
        assert 2 <= len(text) <= corpus.settings.max_characters
        # The server's tokenizer finds nothing to respell: what is trained is what will be asked for.
        assert corpus.spelt(text) == text


def test_the_same_seed_writes_the_same_sentences(corpus: Corpus, tmp_path: Path):
    again = Corpus(corpus.language, Settings(), tokenizer(tmp_path, *GRAMMARS))
    one, other = Random(7), Random(7)
    assert [corpus.sentence(one) for _ in range(50)] == [again.sentence(other) for _ in range(50)]


def test_every_letter_is_met(corpus: Corpus):
    random = Random(8)
    met = set("".join(corpus.sentence(random) for _ in range(1500)))
    assert set("abcdefghijklmnopqrstuvwxyz" + corpus.grammar.letters) <= met


def test_there_are_words_enough(corpus: Corpus):
    assert len(corpus.words) > 3000
    assert len(corpus.documents) > 1000 if corpus.language == "en" else corpus.documents == []


def test_lengths_are_of_all_kinds(corpus: Corpus):
    random = Random(9)
    words = sorted(len(corpus.sentence(random).split()) for _ in range(800))
    assert words[len(words) // 20] <= 3
    assert words[-len(words) // 20] >= 11


@pytest.mark.parametrize("language", GRAMMARS)
def test_every_slot_of_a_template_is_there_and_every_slot_is_used(language: str):
    grammar = GRAMMARS[language]
    used = {name for text in (*grammar.templates, *grammar.questions, *grammar.short) for name in SLOT.findall(text)}
    assert used == set(grammar.slots)


def test_a_corpus_may_be_short(tmp_path: Path):
    corpus = Corpus("en", replace(Settings(), max_characters=20), tokenizer(tmp_path))
    assert all(len(corpus.sentence(Random(i))) <= 20 for i in range(200))
