"""The path of speech in every language, from text to samples, on a tiny model that has them all."""

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from more_server.app import create_speaker
from more_server.errors import BadInput
from more_server.languages import LanguageChoice
from more_server.settings import Settings
from more_server.speak import Speaker
from more_server.speech import SpeechRequest, Voice
from more_server.tables import EngineSettings
from more_server.testing import tiny_xtts
from more_server.text import LANGUAGES, LanguageDetector

SENTENCES = {
    "en": "Dr. Smith paid $3.50 for 2 coffees at 9:30.",
    "es": "El Sr. García pagó 3,50 € por 2 cafés.",
    "fr": "Mme Martin a payé 3,50 € pour 2 cafés à 9h30.",
    "de": "Dr. Müller zahlte 3,50 € für 2 Kaffee.",
    "it": "Il sig. Rossi ha pagato 3,50 € per 2 caffè.",
    "pt": "O Sr. Silva pagou R$ 3,50 por 2 cafés.",
    "pl": "Dr Nowak zapłacił 3,50 zł za 2 kawy.",
    "tr": "Dr. Yılmaz 2 kahve için 3,50 TL ödedi.",
    "ru": "Г-н Иванов заплатил 350 ₽ за 2 кофе.",
    "nl": "Dhr. Jansen betaalde € 3,50 voor 2 koffie.",
    "cs": "Dr. Novák zaplatil 35 Kč za 2 kávy.",
    "ar": "دفع أحمد ٣٥ ريالا مقابل ٢ قهوة.",
    "zh-cn": "王先生花了35元买了2杯咖啡。",
    "hu": "Dr. Nagy 350 Ft-ot fizetett 2 kávéért.",
    "ko": "김 선생님은 커피 2잔에 5,000원을 냈다.",
    "ja": "田中さんはコーヒー2杯に500円払いました。",
    "hi": "राम ने 2 कॉफ़ी के लिए ₹35 दिए।",
}


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Speaker]:
    data_dir = tmp_path_factory.mktemp("data")
    tiny_xtts(data_dir / "models" / "tiny")
    settings = Settings(data_dir=data_dir, model="tiny", engine=EngineSettings(device="cpu", threads=1))
    made = create_speaker(settings)
    made.engine.start()
    asyncio.run(made.start())
    yield made
    made.engine.stop()


def test_every_language_has_a_sentence() -> None:
    assert set(SENTENCES) == set(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_language_is_spoken(speaker: Speaker, language: str) -> None:
    asked = SpeechRequest(text=SENTENCES[language], language=language, seed=1)
    utterance = await speaker.resolve(asked, "test")
    assert utterance.language == language
    spelled = "".join(speaker.engine.tokenizer.spelling(segment.text, language) for segment in utterance.segments)
    assert not any(character.isdecimal() for character in spelled.replace("[", ""))
    first_tokens = {segment.token_ids[0] for segment in utterance.segments}
    assert len(first_tokens) == 1
    for segment in utterance.segments:
        assert 1 < len(segment.token_ids) <= speaker.engine.config.max_segment_tokens
    samples = np.concatenate([audio.samples async for audio in speaker.speak(utterance)])
    assert len(samples) >= 1024 * len(utterance.segments)
    assert np.isfinite(samples).all()


async def test_plugins_are_looked_up_when_a_request_is_resolved_and_never_after(
    speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    utterance = await speaker.resolve(SpeechRequest(text=SENTENCES["en"], seed=1), "test")
    assert [link.id for link in utterance.post_processors] == ["more_silence", "more_loudness"]
    expected = [audio.samples async for audio in speaker.speak(utterance)]
    nowhere: Any = None
    monkeypatch.setattr(speaker, "registry", nowhere)
    monkeypatch.setattr(speaker.voices, "_registry", nowhere)
    heard = [audio.samples async for audio in speaker.speak(utterance)]
    assert np.array_equal(np.concatenate(heard), np.concatenate(expected))
    assert len(heard) > 1


async def test_languages_by_request_voice_and_default(speaker: Speaker) -> None:
    async def spoken(language: str | None) -> str:
        return (await speaker.resolve(SpeechRequest(text="Hola, hello.", language=language), "test")).language

    assert await spoken(None) == "en"  # linden's own
    assert await spoken("es-MX") == "es"
    assert await spoken("zh-TW") == "zh-cn"
    assert await spoken("auto") == "en"
    with pytest.raises(BadInput, match="it speaks: ar, cs, de") as refused:
        await spoken("tlh")
    assert refused.value.param == "language"


GERMAN, FRENCH = "Das Fenster im Wohnzimmer ist noch offen.", "La fenêtre du salon est encore ouverte."


@pytest.mark.parametrize(
    ("languages", "text", "meant"),
    [
        ((), GERMAN, "de"),
        ((), FRENCH, "fr"),
        ((), "창문이 열려 있어요.", "ko"),
        ((), "OK.", "en"),
        ((), "12:30", "en"),
        (("pt",), GERMAN, "pt"),
        (("pt-br", "de"), GERMAN, "de"),
        (("pt-br", "de"), FRENCH, "pt"),
        (("tlh",), GERMAN, "de"),
    ],
)
async def test_a_language_is_recognised_where_the_voice_leaves_it_open(
    speaker: Speaker, languages: tuple[str, ...], text: str, meant: str
) -> None:
    spoken = speaker.languages()
    voice = Voice(id="ann", name="Ann", languages=languages)
    choice = LanguageChoice(speaker.settings)
    assert choice.choose(SpeechRequest(text=text), voice, "tiny", spoken) == meant
    assert choice.choose(SpeechRequest(text=text, language="auto"), voice, "tiny", spoken) == meant
    assert choice.choose(SpeechRequest(text=text, language="nl"), voice, "tiny", spoken) == "nl"
    assert choice.choose(SpeechRequest(text=text), voice, "nano", ["en"]) == "en"


async def test_what_was_said_before_tells_the_language_of_a_word(speaker: Speaker) -> None:
    choice, voice = LanguageChoice(speaker.settings), Voice(id="ann", name="Ann")
    asked = SpeechRequest(text="Stopp.", before=GERMAN)
    assert choice.choose(asked, voice, "tiny", speaker.languages()) == "de"


async def test_recognition_can_be_left_out(speaker: Speaker) -> None:
    settings = msgspec.structs.replace(speaker.settings, detect_language=False, default_language="hu")
    choice, voice = LanguageChoice(settings), Voice(id="ann", name="Ann")
    assert choice.choose(SpeechRequest(text=GERMAN), voice, "tiny", speaker.languages()) == "hu"


async def test_a_model_of_languages_that_cannot_be_unpacked_stops_nothing(
    speaker: Speaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LanguageDetector, "_ranked", full)
    choice, voice = LanguageChoice(speaker.settings), Voice(id="ann", name="Ann")
    for _ in range(2):
        assert choice.choose(SpeechRequest(text=GERMAN), voice, "tiny", speaker.languages()) == "en"
