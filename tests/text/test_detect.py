import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from more_server.text import LANGUAGES, SAMPLES, LanguageDetector


@pytest.fixture(scope="module")
def detector() -> LanguageDetector:
    detector = LanguageDetector(LANGUAGES)
    detector.warm()
    return detector


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_is_told(detector: LanguageDetector, language: str) -> None:
    assert detector.detect(SAMPLES[language], LANGUAGES) == language
    assert detector.detect(SAMPLES[language].upper(), LANGUAGES) == language
    assert detector.detect(unicodedata.normalize("NFD", SAMPLES[language]), LANGUAGES) == language


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("en", "Your timer has finished."), ("en", "There's someone at the door."),
        ("es", "Enciende la luz del salón."), ("es", "¿Qué tal tu día?"),
        ("fr", "Allume la lumière du salon."), ("fr", "Il fait dix degrés."),
        ("de", "Licht an im Wohnzimmer"), ("de", "Es ist zehn Grad."),
        ("it", "Accendi la luce in salotto."), ("it", "Ci sono dieci gradi."),
        ("pt", "Não há nada na agenda hoje."), ("pt", "O jantar está pronto, desce!"),
        ("pl", "Włącz światło w salonie."), ("pl", "Jest dziesięć stopni."),
        ("tr", "Salonun ışığını aç."), ("tr", "Kapıda biri var."),
        ("ru", "Десять градусов."), ("ru", "Привет"),
        ("nl", "Het is tien graden"), ("nl", "De wasmachine is klaar."),
        ("cs", "Kolik je hodin?"), ("cs", "Vchodové dveře jsou pořád otevřené."),
        ("ar", "كم الساعة الآن؟"), ("ar", "مرحبا"),
        ("zh-cn", "打开客厅的灯。"), ("zh-cn", "请小心台阶。"), ("zh-cn", "我們今天去公園"),
        ("hu", "Hány óra van?"), ("hu", "Kikapcsoltam a fűtést."),
        ("ko", "네."), ("ko", "거실 불 켜 줘."),
        ("ja", "はい"), ("ja", "玄関が開いています"), ("ja", "リビングの電気をつけて。"),
        ("hi", "नमस्ते"), ("hi", "बैठक की बत्ती जलाओ।"),
    ],
)  # fmt: skip
def test_short_sentences_are_told(detector: LanguageDetector, language: str, text: str) -> None:
    assert detector.detect(text, LANGUAGES) == language


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("de", "Spiel Shape of You von Ed Sheeran auf Spotify im Wohnzimmer."),
        ("de", "Das iPhone 15 Pro Max und die Apple Watch Ultra sind geladen 🔋"),
        ("de", "Dein Amazon-Paket kommt um 14:45, mehr auf https://www.amazon.de/gp/css/order-history?ref=nav."),
        ("nl", "Ik heb de Philips Hue-lampen aan Home Assistant gekoppeld."),
        ("ru", "Я подключил лампы Philips Hue к Home Assistant, но две всё ещё не в сети."),
        ("ja", "Philips Hueの電球をHome Assistantに接続しました。"),
        ("zh-cn", "我把 Philips Hue 灯泡连接到 Home Assistant 了。"),
        ("ko", "오늘 meeting은 cancel됐어요."),
        ("hi", "मैंने Philips Hue बल्ब को Home Assistant से जोड़ दिया है।"),
        ("en", "This is a sushi restaurant called すし屋."),
        ("en", "The Russian word for hello is привет, and 你好 is the Chinese one."),
    ],
)
def test_names_and_foreign_words_do_not_turn_a_sentence(detector: LanguageDetector, language: str, text: str) -> None:
    assert detector.detect(text, LANGUAGES) == language


@pytest.mark.parametrize(
    "text",
    [
        *("", " \n", "...", "12345", "3,14 15:30 2024-05-01", "٣٫١٤", "१२३", "+49 171 5551234"),
        *("🎉🎉🎉", "😊 👍", "\ud800", "\0\x07"),
        *("https://example.com/path?q=hello+world", "www.home-assistant.io", "user.name@example.com"),
        *("192.168.178.1:8123", "sensor.living_room_temperature", '<div class="container"><span>1</span></div>'),
        # the same in several languages, or in none
        *("OK", "Hallo", "Timer", "Taxi", "Radio", "Spotify", "Home Assistant", "iPhone 15 Pro", "Anna Schmidt"),
        *("Berlin", "Italiano", "xkcd zzz grrr brrr"),
        *("明日", "天気", "電池", "東京", "二十度", "利用", "洗濯完了", "営業時間"),
    ],
)  # fmt: skip
def test_what_is_unclear_is_left_open(detector: LanguageDetector, text: str) -> None:
    assert detector.detect(text, LANGUAGES) is None


@pytest.mark.parametrize(
    "text",
    [
        "Det är tio grader ute och det regnar.",
        "Pesukone on valmis ja ovi on vielä auki.",
        "Afară sunt zece grade și plouă.",
        "La porta encara és oberta i fa molt de fred.",
        "Vrata su još uvijek otvorena, a vani je hladno.",
        "Άναψε το φως στο σαλόνι.",
        "Надворі десять градусів, і йде дощ.",
        "هوا امروز خیلی خوب است و ما به پارک می‌رویم.",
        "आज हवामान खूप छान आहे आणि आम्ही बाहेर जात आहोत.",
        "Lorem ipsum dolor sit amet, consectetur adipiscing elit.",
    ],
)
def test_a_language_that_is_not_spoken_here_is_not_taken_for_its_neighbour(
    detector: LanguageDetector, text: str
) -> None:
    assert detector.detect(text, LANGUAGES) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_only_a_language_asked_for_is_given(detector: LanguageDetector, language: str) -> None:
    # Portuguese is no Spanish where nobody speaks Portuguese: it is weighed against all and then left open.
    others = [code for code in LANGUAGES if code != language]
    assert detector.detect(SAMPLES[language], others) is None
    assert detector.detect(SAMPLES[language], [language]) == language
    assert detector.detect(SAMPLES[language], []) is None


def test_a_language_that_was_left_out_is_foreign() -> None:
    detector = LanguageDetector(["en", "es"])
    assert {code: detector.detect(text, LANGUAGES) for code, text in SAMPLES.items()} == {
        code: code if code in ("en", "es") else None for code in LANGUAGES
    }


def test_the_start_of_a_long_text_is_enough(detector: LanguageDetector) -> None:
    start = f"{SAMPLES['de']} " * 8
    assert detector.detect(start + SAMPLES["fr"] * 200, LANGUAGES) == "de"


WORDS = [*" ".join(SAMPLES.values()).split(), "<", "@", "://", "\0", "\ud800", "🎉", "1"]


@given(
    text=st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)),
    among=st.lists(st.sampled_from([*LANGUAGES, "tlh"]), unique=True),
)
@settings(max_examples=300, deadline=None)
def test_any_text_gives_a_language_asked_for_or_none(detector: LanguageDetector, text: str, among: list[str]) -> None:
    found = detector.detect(text, LANGUAGES)
    assert found is None or found in LANGUAGES
    assert detector.detect(text, among) == (found if found in among else None)


def test_threads_may_begin_together() -> None:
    detector = LanguageDetector(LANGUAGES)
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda code: detector.detect(SAMPLES[code], LANGUAGES), LANGUAGES * 20))
    assert found == list(LANGUAGES * 20)


def test_the_model_is_read_when_it_is_needed() -> None:
    code = """
import sys
from more_server.text import LANGUAGES, LanguageDetector
detector = LanguageDetector(LANGUAGES)
detector.detect("네, 거실 불을 켰어요.", LANGUAGES), detector.detect("123", LANGUAGES)
assert "py3langid" not in sys.modules
detector.warm()
assert "py3langid" in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
