"""Text that arrives in pieces: nothing is lost, the cuts do not matter, and nothing waits for longer than it must."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from more_server.text import LANGUAGES, SAMPLES, TextStream, character_limit, resolve_language

quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

SENTENCES = {
    "en": "The rain has stopped at last today.",
    "es": "¿Cómo está usted esta mañana tan fría?",
    "fr": "Comment allez-vous donc ce matin ?",
    "de": "Wie geht es dir denn heute Morgen?",
    "it": "Che bella giornata che è oggi!",
    "pt": "Amanhã nós vamos todos à praia.",
    "pl": "Jutro wszyscy razem pojedziemy nad morze.",
    "tr": "Yarın hep birlikte denize gidiyoruz.",
    "ru": "Завтра мы все вместе поедем на море!",
    "nl": "Morgen gaan we allemaal naar zee.",
    "cs": "Zítra všichni společně pojedeme k moři.",
    "ar": "هل أنت بخير يا صديقي العزيز؟",
    "zh-cn": "今天天气真的很好啊。",
    "hu": "Holnap mindannyian a tengerhez megyünk együtt.",
    "ko": "내일 우리 모두 함께 바다에 가요.",
    "ja": "明日はみんなで海に行きます。",
    "hi": "वह आज फिर बाज़ार जा रहा है।",
}

_SPICE = st.sampled_from(
    [
        *["3.14", "1,234.5", "5.", "12.", "2019.", "U.S.", "e.g.", "z.B.", "Dr.", "J.", "No.", "XIV.", "a.bc/d"],
        *"….?!。，、！？।؟،«»„“”「」",
        *["Hello", "why", "Grüße", "今天", "ですね", "नमस्ते", "안녕", "- ", "**", "(", ")", "—", "👍", "क्षि", "\u200d"],
        *[" ", "  ", "\n", "\n\n", "\r\n", "\t", "\u00a0", ". ", "! ", "? A", ". a", '." ', "x" * 60, "!" * 20],
    ]
)
texts = st.one_of(
    st.lists(_SPICE, max_size=60).map("".join),
    st.lists(_SPICE, max_size=60).map(" ".join),
    st.text(max_size=60),
    st.lists(st.sampled_from([*SENTENCES.values(), "Yes.", "no", "\n\n"]), max_size=20).map(" ".join),
)
languages = st.sampled_from(LANGUAGES)


def cut(text: str, language: str, sizes: list[int]) -> list[str]:
    """The stretches of a text that arrives in pieces of these sizes, over and over."""
    stream, found, at, turn = TextStream(language), [], 0, 0
    while at < len(text):
        found += stream.feed(text[at : at + sizes[turn % len(sizes)]])
        at += sizes[turn % len(sizes)]
        turn += 1
    return found + stream.finish()


def bare(text: str) -> str:
    return "".join(text.split())


@given(text=texts, language=languages, sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6))
@quick
def test_nothing_is_lost_and_the_cuts_do_not_matter(text: str, language: str, sizes: list[int]) -> None:
    whole = cut(text, language, [len(text) + 1])
    assert bare("".join(whole)) == bare(text)
    assert cut(text, language, sizes) == whole
    assert all(stretch == stretch.strip() != "" for stretch in whole)


@given(text=texts, language=languages)
@quick
def test_never_more_is_held_than_the_limit(text: str, language: str) -> None:
    stream, arrived, given_out = TextStream(language), 0, 0
    for c in text:
        arrived += not c.isspace()
        found = stream.feed(c)
        given_out += len(bare("".join(found)))
        assert arrived - given_out <= character_limit(language) + 18
        assert all(len(stretch) <= character_limit(language) + 18 for stretch in found)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("following", ["Ω", "(", "9", "今"])
def test_a_sentence_is_given_when_the_next_one_begins(language: str, following: str) -> None:
    stream, sentence = TextStream(language), SENTENCES[language]
    found = [stretch for c in sentence for stretch in stream.feed(c)]
    assert found == []  # another mark or a closing quote may follow
    # White space decides behind marks of other scripts than the Latin one; a letter decides behind all of them.
    if language not in ("zh-cn", "ja"):
        found += stream.feed(" ")
    assert found == ([sentence] if sentence[-1] in "؟।" else [])
    found += stream.feed(following)
    assert found == [sentence]
    assert stream.finish() == [following]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_paragraph_is_given_with_its_last_character(language: str) -> None:
    stream = TextStream(language)
    title = SENTENCES[language].rstrip(".?!。।؟ ")
    assert stream.feed(title + "\n") == []
    assert stream.feed("\n") == [title]
    assert stream.finish() == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_samples_come_in_stretches(language: str) -> None:
    text = SAMPLES[language] if SAMPLES[language].count(" ") > 20 else SAMPLES[language] + SENTENCES[language]
    assert bare("".join(cut(text, language, [3]))) == bare(text)


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Dr. Smith met Mr. J. R. R. Tolkien at 3.14 p.m. near example.com in the U.S. Capitol building"),
        ("en", "He wrote No. 5 and, e.g. Nothing, on the wall of that very old house"),
        ("en", "They really asked us “Why not?” he said, and then nobody spoke"),
        ("en", "wait for it... and here it comes now, my dear old friend"),
        ("en", "What we need for it:\n1. Milk from a cow\n2. Flour"),
        ("de", "Am 5. Mai 1804 kam Ludwig XIV. König von Frankreich, d. h. Er selbst, hierher"),
        ("cs", "Sejdeme se všichni společně 5. 3. Potom půjdeme domů na oběd"),
        ("fr", "« Bonjour à toutes et à tous ! » dit-il à M. Dupont en entrant"),
        ("zh-cn", "今天的价格是3.14元，网址是example.com，真的"),
    ],
)
def test_what_ends_no_sentence(language: str, text: str) -> None:
    assert cut(text, language, [1]) == [text]


def test_closing_quotes_stay_with_their_sentence() -> None:
    assert cut("「今日はとても寒いですね。」彼は言った。", "ja", [1])[0] == "「今日はとても寒いですね。」"
    assert cut('She said to all of us: "It is over now." Then she left.', "en", [1]) == [
        'She said to all of us: "It is over now."',
        "Then she left.",
    ]


def test_a_few_words_wait_for_the_next_sentence() -> None:
    assert cut("Sure! I have turned on the light. Bye.", "en", [1]) == ["Sure! I have turned on the light.", "Bye."]
    assert cut("👍 — 👍 — 👍 — 👍!\n\nThat is all that I know.", "en", [1])[0].endswith("know.")
    assert cut("好的。今天天气真的很好。", "zh-cn", [1]) == ["好的。今天天气真的很好。"]


def test_a_run_is_cut_at_the_best_place() -> None:
    lower = "and so they all went home. " * 12
    assert {stretch[-1] for stretch in cut(lower, "en", [5])} == {"."}
    clauses = "when the rain had stopped at last, they went out, " * 8
    assert {stretch[-1] for stretch in cut(clauses, "en", [5])} == {","}
    assert all(not set(stretch.split()) - {"word"} for stretch in cut("word " * 200, "en", [7]))
    assert all(stretch.startswith("क") for stretch in cut("क्षि" * 100, "hi", [1]))
    long = cut("天" * 200 + "price2024" + "地" * 100, "zh-cn", [1])
    assert any("price2024" in stretch for stretch in long)


def test_a_stream_can_be_used_again() -> None:
    stream = TextStream("en")
    stream.feed("and then and then")
    assert stream.finish() == ["and then and then"]
    assert stream.feed("Another text begins right here. N") == ["Another text begins right here."]


def test_all_languages_have_a_sentence_here() -> None:
    assert set(SENTENCES) == set(LANGUAGES)
    assert resolve_language("zh") in SENTENCES
