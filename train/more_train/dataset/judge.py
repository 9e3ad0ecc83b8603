"""Which clips are good enough, and in words why the others are not."""

import math
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np

from more_server.engine.guards import usual_codes
from more_server.text import LANGUAGES, LanguageDetector, character_limit, normalise
from more_train.dataset.clip import Piece
from more_train.dataset.settings import DatasetSettings
from more_train.dataset.transcribe import Transcript

CODES_PER_SECOND = 21.5
BLIND_DECIBELS = 5.0
"""By which speech without a pause may seem noisier: clean phrases of 1.6 s measured 13.6 dB."""
MOST_REPETITION = 2.4
"""Whisper's own bound."""
FEW, MANY = 5, 20
"""Clips of one speaker from which on his pace is known, and from which on its spread is."""
SURE_SPREAD, LEAST_SPREAD, MOST_SPREAD = 2.5, 1.5, 2.5
"""Factors of pace: what nobody speaks at where it is not known, and the bounds where its spread is."""
SLACK_SECONDS = 0.6
"""In which no text is too long or too short: one word is spoken at any pace."""
SAME_LENGTH, SAME_LEVELS = 0.02, 1.0
"""Share of the length, and decibels on average, in which two encodings of one recording differ at most."""
HEARD_DECIBELS = 40
"""Below the loudest slice, codecs change levels by more."""

Problem = tuple[str, str]


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A clip with its text, before it is judged."""

    piece: Piece
    """The clip."""
    source: str
    """The recording it is from."""
    speaker: str
    """Who speaks."""
    text: str
    """What is said."""
    spoken: str
    """The same in words: no digits, no signs."""
    transcript: Transcript | None = None
    """Where Whisper wrote the text."""

    @property
    def characters_per_second(self) -> float:
        return len(self.spoken) / max(self.piece.speech_seconds, 0.01)


def spoken(text: str, language: str) -> str:
    """A text as it is read aloud."""
    return normalise(text, language).strip()


def judge(
    candidates: Sequence[Candidate], settings: DatasetSettings, detector: LanguageDetector
) -> dict[str, list[Problem]]:
    """Reasons against each clip, by its id: a word for programs and a sentence for people. Empty: it is good."""
    found: dict[str, list[Problem]] = {candidate.piece.id: [] for candidate in candidates}
    for candidate in candidates:
        found[candidate.piece.id] += _in_itself(candidate, settings, detector)
    by_speaker = defaultdict(list)
    for candidate in candidates:
        if candidate.spoken:
            by_speaker[candidate.speaker].append(candidate)
    for own in by_speaker.values():
        for name, problem in _out_of_pace(own, settings):
            found[name].append(problem)
    for name, problem in _repeated(candidates):
        found[name].append(problem)
    return found


def _in_itself(candidate: Candidate, settings: DatasetSettings, detector: LanguageDetector) -> Iterator[Problem]:
    yield from _as_sound(candidate.piece, settings)
    if not candidate.spoken:
        yield "no_text", "nothing is said in its text" if candidate.text else "Whisper heard no words in it"
        return
    yield from _as_text(candidate, settings, detector)
    if heard := candidate.transcript:
        if heard.confidence < settings.least_confidence:
            yield (
                "unsure",
                f"Whisper is not sure of the text: {heard.confidence:.2f} a token; {settings.least_confidence:g} and "
                "more are allowed (least_confidence)",
            )
        if heard.repetition > MOST_REPETITION:
            yield "unsure", "Whisper repeats itself, as it does where it hears no speech"


def _as_sound(piece: Piece, settings: DatasetSettings) -> Iterator[Problem]:
    if piece.seconds < settings.shortest_seconds:
        least = settings.shortest_seconds
        yield "short", f"it is {piece.seconds:.1f} s long; {least:g} s and more are allowed (shortest_seconds)"
    if piece.clipped > settings.most_clipped:
        share = f"{piece.clipped:.2%} of its samples are clipped"
        yield "clipped", f"{share}; at most {settings.most_clipped:.2%} are allowed: record at a lower level"
    least = settings.least_signal_to_noise
    if piece.signal_to_noise < (least if piece.has_pauses else least - BLIND_DECIBELS):
        level = f"noise is {piece.signal_to_noise:.0f} dB below the speech"
        yield "noise", f"{level}; {least:g} dB and more are allowed (least_signal_to_noise)"


def _as_text(candidate: Candidate, settings: DatasetSettings, detector: LanguageDetector) -> Iterator[Problem]:
    most = character_limit(settings.language)
    if len(candidate.spoken) > most:
        yield "characters", f"its text has {len(candidate.spoken)} characters when read; XTTS takes {most} at once"
    language = detector.detect(candidate.text, LANGUAGES)
    if language and language != settings.language:
        yield "language", f"its text is in {language}; the dataset's language is {settings.language}"


def _out_of_pace(own: Sequence[Candidate], settings: DatasetSettings) -> Iterator[tuple[str, Problem]]:
    """Clips of one speaker whose text takes much longer or shorter to say than the clip is long."""
    usual = [usual_codes(candidate.spoken, settings.language) / CODES_PER_SECOND for candidate in own]
    paces = [max(c.piece.speech_seconds, 0.01) / max(u, 0.01) for c, u in zip(own, usual, strict=True)]
    pace, spread = _pace(paces, settings.pace_deviations)
    for candidate, needed in zip(own, usual, strict=True):
        expected, speech = pace * needed, candidate.piece.speech_seconds
        if expected / spread - SLACK_SECONDS <= speech <= expected * spread + SLACK_SECONDS:
            continue
        yield (
            candidate.piece.id,
            (
                "pace",
                f"{candidate.characters_per_second:.1f} characters a second where {candidate.speaker} speaks some "
                f"{candidate.characters_per_second * speech / max(expected, 0.01):.0f}: "
                f"the text is another one, or {'more' if speech > expected else 'less'} is said than it tells",
            ),
        )


def _pace(paces: Sequence[float], deviations: float) -> tuple[float, float]:
    """The usual pace, against that of XTTS's own speech, and the factor that clips may be away from it."""
    if len(paces) < FEW:
        return 1.0, SURE_SPREAD
    logs = np.log(np.asarray(paces))
    middle = float(np.median(logs))
    # For the normal distribution, 1.4826 times the median deviation is the standard deviation.
    deviation = 1.4826 * float(np.median(np.abs(logs - middle)))
    spread = math.exp(deviations * deviation) if len(paces) >= MANY else MOST_SPREAD
    return math.exp(middle), min(max(spread, LEAST_SPREAD), MOST_SPREAD)


def _repeated(candidates: Sequence[Candidate]) -> Iterator[tuple[str, Problem]]:
    """Clips that are there already, and recordings that are there with different texts."""
    by_sound = defaultdict(list)
    for candidate in candidates:
        by_sound[candidate.piece.sound].append(candidate)
    for same in by_sound.values():
        if len({_folded(candidate.text) for candidate in same}) > 1:
            others = ", ".join(candidate.source for candidate in same[:3])
            for candidate in same:
                yield candidate.piece.id, ("contradiction", f"the same recording has different texts: {others}")
    by_text = defaultdict(list)
    for candidate in candidates:
        if candidate.spoken:
            by_text[_folded(candidate.text)].append(candidate)
    for same in by_text.values():
        for index, candidate in enumerate(same):
            for earlier in same[:index]:
                if _sounds_like(candidate.piece, earlier.piece):
                    where = f"{earlier.source} from {earlier.piece.start:.1f} s on"
                    yield candidate.piece.id, ("duplicate", f"the same recording with the same text as {where}")
                    break


def _folded(text: str) -> str:
    return re.sub(r"\W+", " ", text.casefold()).strip()


def _sounds_like(one: Piece, other: Piece) -> bool:
    """Whether both are one recording, perhaps in two encodings."""
    if one.sound == other.sound:
        return True
    if not one.outline or not other.outline:
        return False
    if abs(one.seconds - other.seconds) > SAME_LENGTH * max(one.seconds, other.seconds):
        return False
    levels = np.array([list(bytes.fromhex(piece.outline)) for piece in (one, other)]) / 4
    heard = levels.min(axis=0) < HEARD_DECIBELS
    return bool(np.abs(levels[0] - levels[1])[heard].mean() < SAME_LEVELS)
