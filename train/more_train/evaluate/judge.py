"""Sentences measured one by one, and all of them in figures."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec
import numpy as np

from more_server.audio.report import MOST_CLIPPED, measure
from more_server.speech import Audio
from more_train.evaluate.content import OTHERS, Cepstra, cepstra, nearest, seconds
from more_train.evaluate.exam import Exam, Trial
from more_train.evaluate.hearing import hear
from more_train.evaluate.report import Figures, Sentence, Spread
from more_train.evaluate.speaking import Embedding, Said, Spoken

NATURAL_RATIO = (0.6, 1.6)
"""Of speech to its reference; beyond, words are lacking or something else was said."""
HARMLESS = frozenset({"trimmed"})
"""Guards that mend how a sentence ends and not where: silence behind the last word is cut off."""
NORMAL_QUANTILE = 1.96
"""Of 95 %."""

Readings = Mapping[str, Cepstra]
Recogniser = Callable[[Audio, str], str | None]
"""From speech in a language to what was heard; None where it could not listen."""


def measured(
    exam: Exam, spoken: Spoken, recogniser: Recogniser | None, on_done: Callable[[int], None]
) -> tuple[Sentence, ...]:
    """Every sentence of an exam, measured. on_done: told how many are."""
    among = others(exam.trials)
    by_voice = {one.trial.voice: one.voice for one in spoken.said if one.voice is not None}
    found = []
    for index, said in enumerate(spoken.said):
        strangers = [embedding for voice, embedding in by_voice.items() if voice != said.trial.voice]
        sentence = _sentence(said, [exam.trials[other].readings for other in among[index]], strangers)
        if recogniser and not sentence.failure:
            sentence = _recognised(sentence, said, recogniser)
        found.append(sentence)
        on_done(index + 1)
    return tuple(found)


def others(trials: Sequence[Trial]) -> list[list[int]]:
    """The nine sentences that each stands among: by the same speaker where he has enough, as long as it as can be.

    Another speaker would tell sentences apart by more than their words.
    """
    texts = [trial.text.casefold().strip() for trial in trials]
    kinds = [(trial.speaker, trial.language) for trial in trials]
    lengths = [trial.frames for trial in trials]

    def like(own: int) -> list[int]:
        def unlikeness(other: int) -> tuple[bool, int, int]:
            return kinds[other] != kinds[own], abs(lengths[other] - lengths[own]), other

        return sorted((other for other in range(len(trials)) if texts[other] != texts[own]), key=unlikeness)[:OTHERS]

    return [like(own) for own in range(len(trials))]


def _sentence(said: Said, strange: Sequence[Readings], strangers: Sequence[Embedding]) -> Sentence:
    trial = said.trial
    sentence = Sentence(
        id=trial.id,
        text=trial.text,
        language=trial.language,
        voice=trial.voice,
        failure=said.failure,
        reference_seconds=round(seconds(trial.frames), 3),
    )
    return sentence if said.failure else _content(_sound(sentence, said, strangers), said, strange)


def _sound(sentence: Sentence, said: Said, strangers: Sequence[Embedding]) -> Sentence:
    """Guards, level and likeness."""
    found = measure(said.trial.id, said.audio) if len(said.audio.samples) else None
    beyond = float((np.abs(said.audio.samples) > 1).mean()) if found else 0.0
    return msgspec.structs.replace(
        sentence,
        guards=said.guards,
        stopped=HARMLESS.issuperset(said.guards),
        similarity=_cosine(said.speech, said.voice),
        other_similarity=max(
            (one for one in (_cosine(said.speech, other) for other in strangers) if one is not None), default=None
        ),
        reference_similarity=_cosine(said.reference, said.voice),
        loudness=found.loudness if found else -70.0,
        peak=found.peak if found else -120.0,
        clipped=round(max(found.clipped, beyond), 5) if found else 0.0,
        signal_to_noise=found.signal_to_noise if found else 0.0,
    )


def _content(sentence: Sentence, said: Said, strange: Sequence[Readings]) -> Sentence:
    """What was said, and how long it took."""
    spoken = cepstra(said.audio)
    if spoken is None:
        return msgspec.structs.replace(sentence, silent=True)
    own, reader = nearest(spoken, said.trial.readings)
    distances = [nearest(spoken, other)[0] for other in strange]
    characters, length = len(" ".join(sentence.text.split())), seconds(spoken.shape[1])
    return msgspec.structs.replace(
        sentence,
        seconds=round(length, 3),
        codes_per_character=round(length * said.tempo / said.seconds_per_code / characters, 3),
        reference_codes_per_character=round(sentence.reference_seconds / said.seconds_per_code / characters, 3),
        candidates=1 + len(strange),
        rank=1 + sum(other <= own for other in distances),
        reader=reader,
        readers=len(said.trial.readings),
        distance=round(own, 4),
        nearest_other=round(min(distances, default=0.0), 4),
    )


def _recognised(sentence: Sentence, said: Said, recogniser: Recogniser) -> Sentence:
    text, language = sentence.text, sentence.language
    said_text = "" if sentence.silent else recogniser(said.audio, language)
    reference = recogniser(said.trial.reference, language)
    if said_text is None or reference is None:
        return sentence
    ours, theirs = hear(text, said_text, language), hear(text, reference, language)
    return msgspec.structs.replace(
        sentence,
        heard=ours.text,
        words=ours.words,
        word_errors=ours.errors,
        reference_word_errors=theirs.errors,
    )


def _cosine(one: Embedding | None, other: Embedding | None) -> float | None:
    if one is None or other is None:
        return None
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return round(float(one @ other) / length, 4) if length else None


# -- all of them


def figures(sentences: Sequence[Sentence], spoken: Spoken) -> Figures:
    """All sentences of a model in numbers."""
    asked = len(sentences)
    there = [one for one in sentences if not one.failure]
    heard = [one for one in there if not one.silent]
    compared = [one for one in heard if one.candidates > 1]
    found = sum(one.found for one in compared)
    low, high = wilson(found, asked)
    readers = _readers(heard)
    ratios = [one.duration_ratio for one in heard]
    parted = [one for one in heard if one.similarity is not None and one.other_similarity is not None]
    return Figures(
        sentences=asked,
        spoken=len(there),
        failed=asked - len(there),
        silent=len(there) - len(heard),
        found=found,
        accuracy=_share(found, asked),
        accuracy_low=round(low, 4),
        accuracy_high=round(high, 4),
        chance=round(float(np.mean([1 / one.candidates for one in compared])), 4) if compared else 0.0,
        margin=spread_of(one.margin for one in compared),
        stopped=_share(sum(one.stopped for one in there), asked),
        guards=dict(sorted(Counter(guard for one in there for guard in set(one.guards)).items())),
        duration_ratio=spread_of(ratios),
        duration_in_range=_share(sum(NATURAL_RATIO[0] < ratio < NATURAL_RATIO[1] for ratio in ratios), len(there)),
        codes_per_character=spread_of(one.codes_per_character for one in heard),
        reference_codes_per_character=spread_of(one.reference_codes_per_character for one in heard),
        similarity=spread_of(one.similarity for one in heard),
        other_similarity=spread_of(one.other_similarity for one in heard),
        reference_similarity=spread_of(one.reference_similarity for one in heard),
        readers=readers,
        steady_timbre=_steadiness(readers),
        voices_told_apart=_share(sum(_is_own(one) for one in parted), len(parted)) if parted else None,
        loudness=spread_of(one.loudness for one in heard),
        highest_peak=max((one.peak for one in there), default=-120.0),
        clipped=_share(sum(one.clipped > MOST_CLIPPED for one in there), len(there)),
        signal_to_noise=spread_of(one.signal_to_noise for one in heard),
        word_error_rate=_error_rate([(one.word_errors, one.words) for one in there]),
        reference_word_error_rate=_error_rate([(one.reference_word_errors, one.words) for one in there]),
        real_time_factor=_real_time_factor(spoken),
    )


def _is_own(sentence: Sentence) -> bool:
    return (sentence.similarity or 0.0) > (sentence.other_similarity or 0.0)


def _readers(heard: Sequence[Sentence]) -> dict[str, dict[str, int]]:
    counted: dict[str, Counter[str]] = {}
    for one in heard:
        if one.readers > 1:
            counted.setdefault(one.voice, Counter())[one.reader] += 1
    return {voice: dict(readers.most_common()) for voice, readers in sorted(counted.items())}


def _steadiness(readers: Mapping[str, Mapping[str, int]]) -> float | None:
    """Share that is nearest to the reader that most sentences of the same voice are nearest to."""
    most = sum(max(counts.values()) for counts in readers.values())
    return _share(most, sum(sum(counts.values()) for counts in readers.values())) if readers else None


def _share(count: int, whole: int) -> float:
    return round(count / whole, 4) if whole else 0.0


def _error_rate(counted: Sequence[tuple[int | None, int]]) -> float | None:
    """Over all texts: a long one weighs as much as it has words."""
    told = [(errors, words) for errors, words in counted if errors is not None]
    return _share(sum(errors for errors, _ in told), sum(words for _, words in told)) if told else None


def _real_time_factor(spoken: Spoken) -> float:
    made = sum(one.audio.seconds for one in spoken.said)
    return round(spoken.seconds / made, 4) if made else 0.0


def spread_of(values: Iterable[float | None]) -> Spread | None:
    """Percentiles of what is known; None where nothing is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    low, median, high = np.percentile(known, (5, 50, 95))
    return Spread(round(float(low), 4), round(float(median), 4), round(float(high), 4))


def wilson(hits: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), which stays within 0 and 1 for few sentences, too."""
    if not of:
        return 0.0, 1.0
    share, square = hits / of, NORMAL_QUANTILE**2 / of
    middle = share + square / 2
    reach = NORMAL_QUANTILE * math.sqrt(share * (1 - share) / of + square / (4 * of))
    return max(0.0, (middle - reach) / (1 + square)), min(1.0, (middle + reach) / (1 + square))
