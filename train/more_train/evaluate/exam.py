"""What models are asked to say, in which voices, and the references that their speech is compared with."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from more_server.cli.output import voices as library_of
from more_server.errors import BadInput, VoiceNotFound, shown
from more_server.settings import Settings, bundled_dir
from more_server.speech import Audio, Voice
from more_server.voices import named_clips, read_clip
from more_train.evaluate.content import Cepstra, cepstra
from more_train.evaluate.espeak import READERS, Espeak
from more_train.evaluate.report import Material

SHIPPED_VOICES = ("linden", "rowan")
"""They come with the server, so that every model can speak in them; two, so that they can be told apart."""
MOST_FILE_BYTES = 10_000_000

Item = TypeVar("Item")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of an exam."""

    voices: tuple[str, ...] = ()
    """By id or by a clip's file; they take turns. Empty: the dataset's speakers, else those that are shipped."""
    language: str = "en"
    """Of sentences; a dataset has its own."""
    quality: str = "balanced"
    """Profile whose sampling is used."""
    count: int = 100
    """Sentences at most: so many give a 95 % interval of some 6 points on either side of 90 %."""
    seed: int = 507
    """Of the first sentence, each further one has the next: that of tests/test_nano_speaks.py."""
    recogniser: str = ""
    """Name of the recogniser that listens; empty: none does."""


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence to say, and how it should sound."""

    id: str
    text: str
    language: str
    voice: str
    """As a request names it."""
    speaker: str
    """Who says the reference."""
    reference: Audio
    readings: Mapping[str, Cepstra]
    """By who reads: the reference's own, and those of other readers of the same sentence."""

    @property
    def frames(self) -> int:
        """Of the reference, without the silence at its edges."""
        return int(next(iter(self.readings.values())).shape[1])


class NewVoice(msgspec.Struct, frozen=True):
    """A voice that the server is given for the evaluation."""

    voice: Voice
    clips: Mapping[str, bytes]
    """Reference recordings by file name."""


class Exam(msgspec.Struct, frozen=True, kw_only=True):
    """All that models are asked to say."""

    material: Material
    trials: tuple[Trial, ...]
    voices: tuple[NewVoice, ...] = ()
    recordings: bool = False
    """The references are recordings of the speakers whose voices speak."""


def from_sentences(settings: Settings, file: Path | None, wanted: Wanted, scratch: Path | None = None) -> Exam:
    """Sentences of a file, one a line, or the built-in English ones, beside readings of them by espeak-ng.

    Raises BadInput for a file without sentences, a language without readings, a voice's clip that cannot be used.
    """
    texts = spread(_texts(file, wanted.language), wanted.count)
    added = [one for name in wanted.voices for one in new_voices(settings, name)]
    names = [voice_name(name) for name in wanted.voices] or list(SHIPPED_VOICES)
    espeak, trials, left_out = Espeak(scratch), [], []
    for number, text in enumerate(texts):
        trial = _read(espeak, f"{number + 1:03}", text, wanted.language, names[number % len(names)])
        if trial is None:
            left_out.append(f"sentence {number + 1}, {shown(text)}: espeak-ng says nothing for it")
        else:
            trials.append(trial)
    if not trials:
        raise BadInput("none of the sentences has a reading to compare with", param="sentences")
    material = Material(
        name=file.name if file else "built-in sentences",
        kind="sentences",
        references="readings by espeak-ng at 170 words a minute",
        languages=(wanted.language,),
        voices=tuple(names),
        quality=wanted.quality,
        seed=wanted.seed,
        recogniser=wanted.recogniser,
        left_out=tuple(left_out),
    )
    return Exam(material=material, trials=tuple(trials), voices=tuple(added))


def _read(espeak: Espeak, name: str, text: str, language: str, voice: str) -> Trial | None:
    """A sentence with its readings; None where there is nothing to be read."""
    said = {reader: espeak.say(text, language, reader, pitch) for reader, pitch in READERS}
    readings = {reader: found for reader, audio in said.items() if (found := cepstra(audio)) is not None}
    if len(readings) < len(READERS):
        return None
    return Trial(
        id=name,
        text=text,
        language=language,
        voice=voice,
        speaker="espeak-ng",
        reference=said[READERS[0][0]],
        readings=readings,
    )


def _texts(file: Path | None, language: str) -> list[str]:
    if file is None:
        from more_train.evaluate.sentences import ENGLISH

        if language != "en":
            raise BadInput(
                f"the built-in sentences are English; name a file of sentences in {language!r}, one a line",
                param="sentences",
            )
        return list(ENGLISH)
    try:
        with file.open("rb") as content:
            lines = content.read(MOST_FILE_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{file} cannot be read as sentences: {error}", param="sentences") from error
    texts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not texts:
        raise BadInput(f"{file} holds no sentences; write one a line", param="sentences")
    return texts


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most so many, taken evenly from beginning to end."""
    if len(items) <= count:
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


# -- voices


def new_voices(settings: Settings, name: str) -> Iterator[NewVoice]:
    """What the server of an evaluation has to be given for a voice: a clip's file, or voices of the settings' own.

    Voices that came with the server or with a model are there already. Raises BadInput for a clip that cannot be used.
    """
    path = Path(name)
    if path.suffix and path.is_file():
        clips = named_clips([(path.suffix.lower(), read_clip(path, settings.limits))], settings.limits)
        yield NewVoice(Voice(id=voice_name(name), name=path.stem, references=tuple(clips)), clips)
        return
    library = library_of(settings)
    try:
        shares = library.view().resolve(name, "")
    except VoiceNotFound:
        return  # a voice of the model, or none: that is told when it is asked for
    for _, voice in shares:
        if not (bundled_dir() / "voices" / voice.id).is_dir():
            yield NewVoice(msgspec.structs.replace(voice, store="", fixed=False), library.clips(voice))


def voice_name(name: str) -> str:
    """What a voice is asked for by, which may be a clip's file."""
    path = Path(name)
    return voice_id(path.stem, "clip") if path.suffix and path.is_file() else name


def voice_id(name: str, prefix: str) -> str:
    """An id that no shipped voice has."""
    return f"{prefix}-{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-') or 'unnamed'}"[:64]
