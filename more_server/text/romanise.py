"""Scripts that XTTS learnt in Latin letters: pinyin, romaji, romanised Korean, as coqui's tokenizer writes them."""

import re
from collections.abc import Callable
from functools import cache


def romanise(text: str, language: str) -> str:
    """Normalised text as the tokenizer wants it; the text itself for languages written as they are."""
    text = text.encode("utf-8", "ignore").decode("utf-8")  # the dictionaries behind this refuse lone surrogates
    if language == "zh-cn":
        return _pinyin(text)
    if language == "ja":
        return _romaji()(text).lower() if text.strip() else ""
    if language == "ko":
        return _hangul()(text)
    return text


def _pinyin(text: str) -> str:
    import pypinyin

    syllables = pypinyin.pinyin(text, style=pypinyin.Style.TONE3, heteronym=False, neutral_tone_with_five=True)
    # Characters without a reading get a tone number of their own, which would be read aloud.
    return re.sub(r"(?<![a-zü])5", "", "".join(readings[0] for readings in syllables))


@cache
def _romaji() -> Callable[[str], str]:
    import cutlet

    # With foreign spelling, as in coqui, so that タワー is "tower": the model was trained on it.
    converter = cutlet.Cutlet()

    def convert(text: str) -> str:
        # cutlet writes "?" for what it does not know, which would be heard as a question
        return re.sub(r"\?(?=\w)", "", str(converter.romaji(text)))

    return convert


@cache
def _hangul() -> Callable[[str], str]:
    from ko_speech_tools import hangul_romanize

    def convert(text: str) -> str:
        return str(hangul_romanize(text))

    return convert
