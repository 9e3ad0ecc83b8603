import json
import subprocess
import sys

import pytest

from more_server.text import LANGUAGES, character_limit, resolve_language, romanise
from more_server.text.languages.registry import get


@pytest.mark.parametrize(
    ("tag", "language"),
    [
        ("en", "en"), ("en-US", "en"), ("EN_gb", "en"), ("English", "en"), (" german ", "de"), ("Deutsch", "de"),
        ("pt-BR", "pt"), ("zh", "zh-cn"), ("zh_CN", "zh-cn"), ("zh-TW", "zh-cn"), ("zh-Hant-TW", "zh-cn"),
        ("cmn", "zh-cn"), ("日本語", "ja"), ("tlh", None), ("", None), ("-", None), ("e", None),
    ],
)  # fmt: skip
def test_resolve_language(tag: str, language: str | None) -> None:
    assert resolve_language(tag) == language


def test_character_limits_are_coquis() -> None:
    limits = {code: character_limit(code) for code in LANGUAGES}
    assert limits == {
        "en": 250, "de": 253, "fr": 273, "es": 239, "it": 213, "pt": 203, "pl": 224, "zh-cn": 82, "ar": 166, "cs": 186,
        "ru": 182, "nl": 251, "tr": 226, "ja": 71, "hu": 224, "ko": 95, "hi": 150,
    }  # fmt: skip


@pytest.mark.parametrize("code", LANGUAGES)
def test_every_language_is_complete(code: str) -> None:
    language = get(code)
    signs = {"&", "+", "@", "#", "#1", "=", "<", ">", "≤", "≥", "≈", "~", "×", "÷", "±", "§", "/", "½", "²", "³"}
    assert signs <= set(language.symbols)
    assert set(".@/-_:+") <= set(language.addresses)
    assert {"$", "€", "£", "¥", "₹", "zł", "Kč", "Ft", "₺", "₽", "₩", "R$", "CHF"} <= set(language.currencies)
    assert {"km", "kg", "m", "cm", "°C", "°", "%", "km/h", "GB", "m²", language.second} <= set(language.units)
    assert len(language.months) == 12
    assert len(language.digit_words()) == 10
    assert len(language.letters.split()) in (0, 26)


@pytest.mark.parametrize("code", LANGUAGES)
def test_numbers_are_spelt_without_fail_and_apart(code: str) -> None:
    language = get(code)
    numbers = [
        *range(1100),
        *range(1100, 10_000, 37),
        *(10**k + d for k in range(4, 15) for d in (-1, 0, 1, 2)),
        10**15 - 1,
    ]
    spelt = [language.cardinal(n, "") for n in numbers]
    assert all(spelt)
    assert len(set(spelt)) == len(set(numbers))
    assert not any(c.isdigit() for text in spelt for c in text)
    ordinals = [language.ordinal(n, "") for n in range(1, 1000)]
    assert len(set(ordinals)) == len(ordinals)


@pytest.mark.parametrize(
    ("language", "text", "romanised"),
    [
        ("zh-cn", "你好，世界。", "ni3hao3，shi4jie4。"),
        ("zh-cn", "他的绿色 ABC 书吗？", "ta1de5lv4se4 ABC shu1ma5？"),
        ("ja", "今日は東京で三個の林檎を買った。", "kyou wa tokyo de sanko no ringo wo katta."),
        ("ja", "シガツヨッカ十ヨジ", "shigatsuyokka juu yoji"),
        ("ko", "안녕하세요, 십이 점 오 초.", "annyeonghase-yo, sib-i jeom o cho."),
        ("en", "Hello", "Hello"),
        ("ar", "مرحبا", "مرحبا"),
    ],
)
def test_romanise(language: str, text: str, romanised: str) -> None:
    assert romanise(text, language) == romanised


def test_dictionaries_are_loaded_only_for_their_language() -> None:
    program = (
        "import json, sys; from more_server.text import normalise, romanise, resolve_language; resolve_language('ja');"
        "names = ('cutlet', 'fugashi', 'pypinyin', 'ko_speech_tools', 'torch', 'TTS');"
        "romanise(normalise('3 cats', 'en'), 'en');"
        "print(json.dumps([m for m in names if m in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []
