import pytest

from more_server.text import LANGUAGES, character_limit
from more_server.text import split as pieces
from tests.text.pieces import split


class Counter:
    """Counts tokens as a tokenizer might, and how often it was asked."""

    def __init__(self, characters_per_token: int = 3) -> None:
        self.calls = 0
        self.characters_per_token = characters_per_token

    def __call__(self, text: str) -> int:
        self.calls += 1
        return len(text) // self.characters_per_token + 2


SENTENCE = "The quick brown fox jumps over the lazy dog, and the dog does not mind it at all. "


@pytest.mark.parametrize("text", ["", "  ", "...", "?!", ",;:", "\u200d", "。、"])
def test_nothing_to_say(text: str) -> None:
    assert split(text, "en", count_tokens=len, max_tokens=50) == []


def test_sentences_fill_a_segment_and_lose_their_last_full_stop() -> None:
    segments = split(SENTENCE * 3, "en", count_tokens=Counter(), max_tokens=60)
    assert segments == [f"{SENTENCE}{SENTENCE}".strip().removesuffix("."), SENTENCE.strip().removesuffix(".")]


def test_full_stop_stays_after_few_words() -> None:
    assert split("Well, yes.", "en", count_tokens=len, max_tokens=50) == ["Well, yes."]
    assert split("What a long day it was!", "en", count_tokens=len, max_tokens=50) == ["What a long day it was!"]


def test_first_segment_ends_early_at_a_good_point() -> None:
    text = "When the rain had stopped at last, they went out into the garden and looked for the cat under every bush"
    first, *rest = split(text, "en", count_tokens=Counter(), max_tokens=80, first_max_tokens=20)
    assert first == "When the rain had stopped at last,"
    assert rest == ["they went out into the garden and looked for the cat under every bush"]


def test_first_segment_is_not_forced_where_no_clause_ends() -> None:
    text = "they went out into the garden and looked for the cat under every bush they had"
    assert split(text, "en", count_tokens=Counter(), max_tokens=80, first_max_tokens=10) == [text]


def test_tiny_sentences_join_their_neighbours() -> None:
    assert split("No. Yes. Oh dear.", "en", count_tokens=len, max_tokens=60, first_max_tokens=5) == [
        "No. Yes. Oh dear."
    ]
    segments = split(f"{SENTENCE * 2}Fine.", "en", count_tokens=Counter(), max_tokens=60)
    assert all(len(segment.split()) > 4 for segment in segments)


def test_words_are_cut_only_where_one_alone_is_too_long() -> None:
    word = "a" * 1000
    segments = split(f"so {word} then", "en", count_tokens=len, max_tokens=120)
    assert "".join(segments).replace(" ", "") == f"so{word}then"
    assert max(map(len, segments)) <= 120


def test_a_cut_word_keeps_its_letters_whole() -> None:
    word = "क्षि" * 100
    segments = split(word, "hi", count_tokens=len, max_tokens=30)
    assert "".join(segments) == word
    assert all(segment.startswith("क") for segment in segments)


@pytest.mark.parametrize(
    ("language", "text"),
    [("zh-cn", "今天天气很好，我们去公园散步。" * 20), ("ja", "今日は天気がいいので、公園を散歩しましょう。" * 20)],
)
def test_languages_without_spaces_part_at_their_punctuation(language: str, text: str) -> None:
    segments = split(text, language, count_tokens=len, max_tokens=100)
    assert all(text.split("。")[0] in segment for segment in segments)
    assert max(map(len, segments)) <= character_limit(language)


def test_arabic_and_hindi_punctuation_is_understood() -> None:
    assert split(
        "هل أنت بخير يا صديقي العزيز؟ نعم أنا بخير والحمد لله اليوم.", "ar", count_tokens=len, max_tokens=40
    ) == [
        "هل أنت بخير يا صديقي العزيز؟",
        "نعم أنا بخير والحمد لله اليوم",
    ]
    assert split("वह आज बाज़ार जा रहा है। मैं आज घर पर ही हूँ।", "hi", count_tokens=len, max_tokens=30) == [
        "वह आज बाज़ार जा रहा है",
        "मैं आज घर पर ही हूँ",
    ]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    "text", [SENTENCE * 1250, "word " * 20_000, "x" * 100_000, "今天天气很好，我们去公园。" * 8_000]
)
def test_few_calls_of_the_tokenizer(language: str, text: str) -> None:
    count = Counter()
    segments = split(text, language, count_tokens=count, max_tokens=60, first_max_tokens=20)
    assert count.calls <= 10 * len(segments) + 10


def test_the_punctuation_that_ended_a_piece_is_told():
    said = f"Is that so, really, my friend? {SENTENCE}Not one of them went on after all of that, and they slept"
    found = pieces(said, "en", count_tokens=Counter(), max_tokens=12)
    assert (found[0].text, found[0].mark) == ("Is that so, really, my friend?", "?")
    assert (found[-1].text, found[-1].mark) == ("and they slept", "")
    # A full stop is told, though it is not spoken.
    assert pieces(SENTENCE, "en", count_tokens=len, max_tokens=500) == [(SENTENCE.strip(" ."), ".")]
