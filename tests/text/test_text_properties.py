"""What holds for any text in any language."""

import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from more_server.text import LANGUAGES, character_limit, normalise, romanise
from tests.text.pieces import split

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def words(*lines: str) -> list[str]:
    return " ".join(lines).split()


# What people write, and what only a fuzzer writes.
_SPICE = st.sampled_from(
    [
        *words(
            "3.14 1,234.56 1.234,56 -5 50% $20 20€ £3.50 1/2 1st 5. 1984 2024-03-05 5/3/2024 14:30 14:30:15 2:30pm",
            "14h30 3-5 +49 555-123-4567 007 ٣٫١٤ १२३ １２３ ① ² ½ Ⅳ km °C m² XIV FBI U.S.A. Dr. etc. e.g. z.B. 3.11.4",
            "**b** _i_ `c` # | - * <b> </b> &amp; http://a.bc/d?e=1 a@b.cd 🎉 👨\u200d👩\u200d👧 … ...",
            "— “ ” ( ) [x](y) = + @ ~ ^ \\ ,, ?! 。 ، । 中 文 あ 한 ـ 'ın -ben -го º 5G MP3 年 月 시 개",
            "99999999999999999999 0 00 ¿ ¡",
        ),
        *("\n", "\x00", "\u200b", "\ud800", "\u0301"),
    ]
)
texts = st.one_of(
    st.text(max_size=80),
    st.lists(st.one_of(_SPICE, st.text(max_size=6), st.integers(0, 10**18).map(str)), max_size=14).map(" ".join),
    st.lists(_SPICE, max_size=12).map("".join),
)
UNSPEAKABLE = {"So", "Sc", "Sm", "Cc", "Cn", "Co", "Cs", "Nd", "No"}

languages = st.sampled_from(LANGUAGES)
counters = st.sampled_from([len, lambda t: len(t.encode("utf-8", "replace")) // 3 + 1, lambda t: len(t.split()) + 1])


def letters(text: str) -> str:
    return "".join(c for c in text if unicodedata.category(c)[0] in "LM")


@pytest.mark.parametrize("language", LANGUAGES)
@given(text=texts)
@quick
def test_normalise_is_total_and_leaves_no_digit_or_sign(language: str, text: str) -> None:
    said = normalise(text, language)
    assert said == normalise(text, language)
    assert not [
        c
        for c in said
        if c.isdigit() or unicodedata.category(c) in ("So", "Sc", "Sm", "Cc", "Cn", "Co", "Cs", "Nd", "No")
    ]
    assert not set(said) & set('*_=`#|<>"“”«»()[]{}~^@&\\/')
    assert said == " ".join(said.split())
    assert unicodedata.is_normalized("NFC", said)


@given(text=texts, language=languages)
@quick
def test_romanise_is_total(text: str, language: str) -> None:
    assert isinstance(romanise(normalise(text, language), language), str)
    assert isinstance(romanise(text, language), str)


@given(
    text=st.one_of(texts, st.lists(st.text("abc देж中あ한,.!?。، '-", max_size=60), max_size=12).map(" ".join)),
    language=languages,
    count=counters,
    max_tokens=st.integers(8, 120),
    first=st.one_of(st.none(), st.integers(4, 40)),
    normalised=st.booleans(),
)
@settings(quick, max_examples=400)
def test_split_keeps_every_letter_in_order_and_both_limits(
    text, language, count, max_tokens, first, normalised
) -> None:  # type: ignore[no-untyped-def]
    text = normalise(text, language) if normalised else text
    segments = split(text, language, count_tokens=count, max_tokens=max_tokens, first_max_tokens=first)
    assert all(len(s) <= character_limit(language) for s in segments)
    # one letter with its marks cannot be cut, however many tokens it has
    assert all(count(s) <= max_tokens or len(letters(s)) <= 12 for s in segments)
    if any(c.isalnum() for c in text):
        assert letters("".join(segments)) == letters(text) or not normalised
    else:
        assert segments == []


@given(st.text(max_size=40).filter(lambda t: not any(c.isalnum() for c in t)), languages)
@quick
def test_nothing_speakable_gives_no_segments(text: str, language: str) -> None:
    assert split(text, language, count_tokens=len, max_tokens=50) == []
