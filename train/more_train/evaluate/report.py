"""report.json: what was measured of one model, or of two side by side."""

from pathlib import Path
from typing import Literal

import msgspec

from more_server.errors import BadInput

FORMAT = 1
FILE, PAGE = "report.json", "report.html"
EVALUATION = "evaluation"
"""Folder of a report, in that of the run which it judges."""


class Spread(msgspec.Struct, frozen=True):
    """Where the values of a figure lie."""

    low: float
    """5th percentile."""
    median: float
    high: float
    """95th percentile."""


class Sentence(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence as a model said it."""

    id: str
    text: str
    language: str
    voice: str
    """Id of the voice that said it."""
    failure: str = ""
    """Why it could not be spoken; then nothing below was measured."""
    silent: bool = False
    """Nothing is to be heard; then nothing of its content was measured."""
    guards: tuple[str, ...] = ()
    """What guards on speech did, in order."""
    stopped: bool = False
    """The model ended it by itself at the first try: no guard had to."""
    seconds: float = 0.0
    """Of speech, without the silence at its edges."""
    reference_seconds: float = 0.0
    """Of the reference, likewise."""
    codes_per_character: float = 0.0
    """Audio codes that the speech lasted, at the model's own tempo, per character of the text."""
    reference_codes_per_character: float = 0.0
    """Codes that the reference lasts, per character."""
    candidates: int = 0
    """References that it was compared with, its own among them."""
    rank: int = 0
    """Of its own reference among them, 1 for the nearest; 0: not compared."""
    readers: int = 0
    """Who read the sentence for a reference, how many; the nearest of their readings counts."""
    reader: str = ""
    """Whose reading is the nearest."""
    distance: float = 0.0
    """From its own reference: mean cosine distance of the mel-cepstra along the best time warping, 0 to 2."""
    nearest_other: float = 0.0
    """The same from the nearest other reference."""
    similarity: float | None = None
    """Cosine between its speaker embedding and that of its voice, by the model's own encoder."""
    other_similarity: float | None = None
    """The highest with any other voice of this evaluation; None where there is none."""
    reference_similarity: float | None = None
    """Of a recording of the same speaker with the voice: what a natural voice reaches; None for espeak-ng."""
    loudness: float = -70.0
    """LUFS, before any post-processing."""
    peak: float = -120.0
    """Largest sample in dBFS, before any post-processing."""
    clipped: float = 0.0
    """Share of samples, 0 to 1, in flat tops or beyond full scale."""
    signal_to_noise: float = 0.0
    """Estimate in dB, 0 to 60, how far steady noise lies below the speech."""
    heard: str | None = None
    """What the recogniser made of it; None without one."""
    words: int = 0
    """Of the text, as the recogniser's are counted; characters where words are not spaced. 0: it was not asked."""
    word_errors: int | None = None
    """Words wrong, lacking or too many."""
    reference_word_errors: int | None = None
    """The same in the reference: what the recogniser itself gets wrong."""

    @property
    def found(self) -> bool:
        """Its own reference is the nearest."""
        return self.rank == 1

    @property
    def duration_ratio(self) -> float:
        """Seconds of speech for each second of the reference."""
        return self.seconds / self.reference_seconds if self.reference_seconds else 0.0

    @property
    def margin(self) -> float:
        """How much farther the nearest other reference is than its own, as a share of it; below 0 for a wrong one."""
        return self.nearest_other / self.distance - 1 if self.distance else 0.0


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """All sentences of a model in numbers."""

    sentences: int
    """Asked for."""
    spoken: int
    """Of which there was audio."""
    failed: int
    """That could not be spoken; they count as not found and not stopped."""
    silent: int
    """Of which nothing is to be heard."""
    found: int
    """Whose own reference is the nearest of all that they were compared with."""
    accuracy: float
    """Found of those asked for, 0 to 1: top-1 accuracy of the content retrieval."""
    accuracy_low: float
    """Lower end of its 95 % interval (Wilson)."""
    accuracy_high: float
    """Upper end."""
    chance: float
    """What guessing would find, 0 to 1."""
    margin: Spread | None
    """How much farther the nearest other reference is than the own one, as a share of it."""
    stopped: float
    """Share of those asked for that the model ended by itself at the first try, 0 to 1."""
    guards: dict[str, int]
    """Sentences in which each guard acted at least once."""
    duration_ratio: Spread | None
    """Seconds of speech for each second of the reference."""
    duration_in_range: float
    """Share of the spoken whose ratio is between 0.6 and 1.6, 0 to 1."""
    codes_per_character: Spread | None
    """Audio codes per character of the text."""
    reference_codes_per_character: Spread | None
    """The same of the references: the data."""
    similarity: Spread | None
    """Cosine with the own voice, by the model's own speaker encoder."""
    other_similarity: Spread | None
    """Highest cosine with any other voice; None for a single voice."""
    reference_similarity: Spread | None
    """Cosine of recordings with their own speaker's voice; None without recordings."""
    readers: dict[str, dict[str, int]]
    """Of each voice, how many of its sentences are nearest to whose reading; empty where each reference has one."""
    steady_timbre: float | None
    """Share of the heard that is nearest to the reader that most sentences of its voice are nearest to, 0 to 1: a voice
    that is now a man's and now a woman's is not steady. None where each reference has one reader."""
    voices_told_apart: float | None
    """Share of the spoken that are nearer to their own voice than to any other, 0 to 1; None for a single voice."""
    loudness: Spread | None
    """LUFS, before any post-processing."""
    highest_peak: float
    """dBFS, before any post-processing."""
    clipped: float
    """Share of the spoken of which more than a thousandth of the samples is clipped, 0 to 1."""
    signal_to_noise: Spread | None
    """dB."""
    word_error_rate: float | None
    """Errors per word over all texts; None without a recogniser."""
    reference_word_error_rate: float | None
    """The same for the references."""
    real_time_factor: float
    """Seconds of work per second of speech, several sentences at a time; depends on the machine."""


class Losses(msgspec.Struct, frozen=True, kw_only=True):
    """How well a model foretells held-out recordings."""

    clips: int
    """Recordings that were used."""
    values: dict[str, float]
    """Mean losses by name, in nats per token unless the name says otherwise."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A model and what was measured of it."""

    id: str
    path: str
    step: int = 0
    """Of the training run whose weights these are; 0: it is no run's."""
    licence: str
    warning: str
    device: str
    precision: str
    encoder: str
    """Checksum of its speaker encoder; similarities by different encoders cannot be compared."""
    figures: Figures
    losses: Losses | None
    """None without recordings or without the training's own losses."""
    sentences: tuple[Sentence, ...]
    remarks: tuple[str, ...] = ()
    """What was not measured, and why."""


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """What the models were asked to say."""

    name: str
    """Of the dataset, or of the list of sentences."""
    kind: Literal["dataset", "sentences"]
    references: str
    """What the speech was compared with, in words."""
    languages: tuple[str, ...]
    voices: tuple[str, ...]
    """That spoke, by id."""
    quality: str
    """Profile whose sampling was used."""
    seed: int
    """Of the first sentence; each further one has the next."""
    recogniser: str = ""
    """Name of the recogniser's model; empty: there was none."""
    left_out: tuple[str, ...] = ()
    """Sentences and recordings that could not be used, with the reason."""


class Verdict(msgspec.Struct, frozen=True):
    """A sentence of the summary."""

    mark: Literal["good", "bad", "note"]
    text: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two models on the same sentences, with the same seeds."""

    both_found: int
    """Sentences that both said recognisably."""
    only_first: int
    only_second: int
    neither: int
    p_value: float
    """How often chance alone would part them as far (exact sign test, two-sided), 0 to 1."""
    verdict: str
    """In words."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """report.json."""

    format: int = FORMAT
    made: str
    """UTC, ISO 8601."""
    material: Material
    models: tuple[Model, ...]
    """The model that was evaluated, and the one it was held against, if any."""
    verdicts: tuple[tuple[Verdict, ...], ...]
    """The summary, for each model."""
    comparison: Comparison | None = None


def read_report(path: Path) -> Report:
    """A report.json, or the one in a folder. Raises BadInput."""
    path = path / FILE if path.is_dir() else path
    try:
        report = msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"{path} is no report of an evaluation: {error}", param="evaluation") from error
    if report.format != FORMAT:
        raise BadInput(f"{path} has the format {report.format}, this version reads {FORMAT}", param="evaluation")
    return report


def told(model: Model) -> dict[str, float]:
    """The figures of a model that its provenance keeps."""
    figures = model.figures
    spreads = {
        "duration_ratio": figures.duration_ratio,
        "codes_per_character": figures.codes_per_character,
        "similarity": figures.similarity,
        "loudness": figures.loudness,
    }
    single = {
        "sentences": figures.sentences,
        "accuracy": figures.accuracy,
        "stopped": figures.stopped,
        "voices_told_apart": figures.voices_told_apart,
        "steady_timbre": figures.steady_timbre,
        "word_error_rate": figures.word_error_rate,
    }
    found = single | {name: spread.median for name, spread in spreads.items() if spread is not None}
    found |= {f"loss_{name}": value for name, value in (model.losses.values if model.losses else {}).items()}
    return {name: value for name, value in found.items() if value is not None}
