"""The vocabulary: one token for each character, read by the server's own tokenizer."""

from pathlib import Path
from random import Random

from more_train.nano.config import Corpus as Settings
from more_train.nano.corpus import Corpus
from more_train.nano.phrases import GRAMMARS
from more_train.nano.presets import choose
from more_train.nano.serving import xtts_config
from more_train.nano.tokenizer import vocabulary
from tokenizers import Tokenizer as Vocabulary

from more_server.xtts.vocabulary import read_vocabulary, vocabulary_problems
from tests.train.nano.material import tokenizer


def test_text_survives_the_round_trip(tmp_path: Path):
    made, languages = tokenizer(tmp_path, *GRAMMARS), tuple(GRAMMARS)
    tokens = {index: token for token, index in vocabulary(languages).items()}
    for language in languages:
        corpus = Corpus(language, Settings(), made)
        for seed in range(60):
            text = corpus.sentence(Random(seed))
            ids = made.encode(text, language)
            assert tokens[ids[0]] == f"[{language}]"
            assert "".join(tokens[index] for index in ids[1:]).replace("[SPACE]", " ") == text
            # Word times count characters, so a token must be one.
            assert len(ids) == len(text) + 1


def test_letters_of_every_language_are_kept(tmp_path: Path):
    made = tokenizer(tmp_path, *GRAMMARS)
    for language, text in (("de", "größe, übermut"), ("es", "¿mañana? ¡sí!"), ("pt", "coração, avô"), ("en", "it's")):
        assert made.spelling(text, language) == f"[{language}]" + text.replace(" ", "[SPACE]")


def test_a_vocabulary_fits_the_model_that_is_made_with_it(tmp_path: Path):
    for languages in (("en",), tuple(GRAMMARS)):
        tokenizer(tmp_path, *languages)
        config = xtts_config(choose("small", {"languages": list(languages)}))
        assert vocabulary_problems(read_vocabulary(tmp_path / "vocab.json"), config) == []
        assert config.gpt.number_text_tokens == Vocabulary.from_file(str(tmp_path / "vocab.json")).get_vocab_size()


def test_the_order_of_languages_does_not_move_the_special_tokens():
    assert list(vocabulary(("pt", "en")))[:6] == ["[STOP]", "[START]", "[UNK]", "[pt]", "[en]", "[SPACE]"]
