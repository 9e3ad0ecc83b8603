"""What was found in a dataset's recordings: figures for programs, and sentences that a person can act on."""

from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np

from more_server.lessons import datasets
from more_train.dataset.format import Clip, Dataset, Refused
from more_train.dataset.judge import Candidate

BARS = 24
TELEPHONE = 5_000
"""Hertz; speech with nothing above it came through a telephone or an old codec."""
MUCH_SOFTER = 3.0
"""LU that a clip stays below the level asked for before it is worth a word."""
SCARCE_SECONDS, PLENTY_SECONDS = 120.0, 600.0
"""Of one speaker: fine-tuning begins to work from two minutes on, and is good from ten."""
MANY_REFUSED = 0.2
ADVICE = {
    "unnamed": "recordings that metadata.csv does not name were left out: name them there, or let Whisper write "
    "their texts",
    "missing": "metadata.csv names recordings that are not there: look for other spellings of their names",
    "outside": "names and links that lead out of the source are never followed: copy those files into it",
    "pace": "some texts do not fit the length of their recording: listen to them, lines may have slipped by one",
    "language": "some texts are in another language: remove them, or make a dataset of their own of them",
    "noise": "some clips are noisy: record in a quieter place, closer to the microphone",
    "clipped": "some clips are clipped: record at a lower level; clipping cannot be undone",
    "long": "some recordings with a text are too long: cut them and their texts, or let Whisper write the texts",
    "no_pause": "some speech has no pause to cut at: music below it, or several people at once?",
    "unread": "some files could not be read this time: mend that, and run it again",
    "unreadable": "some files are damaged or no audio: get them again",
    "unsure": "Whisper was not sure of some texts: a larger model may be",
}


class Bars(msgspec.Struct, frozen=True):
    """How often values fall between edges."""

    edges: tuple[float, ...]
    """One more than bars."""
    kept: tuple[int, ...]
    """Clips of the dataset in each bar."""
    refused: tuple[int, ...]
    """Refused clips in each bar."""


class SpeakerReport(msgspec.Struct, frozen=True):
    """One speaker's part."""

    speaker: str
    """Folder below clips/."""
    name: str
    """As metadata.csv writes it."""
    clips: int
    """In the dataset."""
    seconds: float
    """Of these clips."""


class Report(datasets.Report, frozen=True, kw_only=True):
    """What a dataset was made of and what became of it, with what the server does not ask for."""

    dataset: Dataset
    """As in dataset.json."""
    speakers: tuple[SpeakerReport, ...]
    """In order."""
    ignored: int
    """Files of the source that are no recordings."""
    padded: int
    """Clips that room was added to, as their recording ends with the speech."""
    softer: int
    """Clips more than 3 LU softer than asked for, as their peaks allow no more."""
    bars: dict[str, Bars]
    """`seconds`, `characters_per_second`, `signal_to_noise` in dB, `loudness` in LUFS and `bandwidth` in kHz."""


def make(
    dataset: Dataset,
    candidates: Sequence[Candidate],
    clips: Sequence[Clip],
    refused: Sequence[Refused],
    names: Mapping[str, str],
    *,
    recorded: Sequence[tuple[float, float]],
    ignored: int,
) -> Report:
    """The report. names: folders of speakers by their names. recorded: seconds, and those of speech, per recording."""
    good = {clip.id for clip in clips}
    kept = [candidate for candidate in candidates if candidate.piece.id in good]
    others = [candidate for candidate in candidates if candidate.piece.id not in good]
    counted = Counter(reason for row in refused for reason in row.reasons)
    speakers = _speakers(clips, names)
    return Report(
        dataset=dataset,
        recordings=len(recorded),
        recorded_seconds=round(sum(seconds for seconds, _ in recorded), 2),
        speech_seconds=round(sum(speech for _, speech in recorded), 2),
        refused_clips=len(others),
        refused_seconds=round(sum(candidate.piece.seconds for candidate in others), 2),
        refused=dict(sorted(counted.items(), key=lambda item: (-item[1], item[0]))),
        speakers=speakers,
        ignored=ignored,
        padded=sum(candidate.piece.added_seconds > 0 for candidate in kept),
        softer=sum(candidate.piece.softer > MUCH_SOFTER for candidate in kept),
        bars={
            "seconds": _bars(*(_of(part, "seconds") for part in (kept, others))),
            "characters_per_second": _bars(*([c.characters_per_second for c in part] for part in (kept, others))),
            "signal_to_noise": _bars(*(_of(part, "signal_to_noise") for part in (kept, others))),
            "loudness": _bars(*(_of(part, "loudness") for part in (kept, others))),
            "bandwidth": _bars(*([c.piece.bandwidth / 1000 for c in part] for part in (kept, others))),
        },
        advice=_advice(kept, counted, speakers, len(candidates)),
    )


def _of(candidates: Sequence[Candidate], field: str) -> list[float]:
    return [getattr(candidate.piece, field) for candidate in candidates]


def _bars(kept: Sequence[float], refused: Sequence[float]) -> Bars:
    """Over the range of all values but the outermost hundredth, which the first and last bars take in."""
    values = np.array([*kept, *refused], float)
    if not len(values):
        return Bars((), (), ())
    low, high = np.quantile(values, [0.01, 0.99])
    edges = np.linspace(low, max(high, low + 1e-3), BARS + 1)
    counts = [np.histogram(np.clip(part, edges[0], edges[-1]), edges)[0].tolist() for part in (kept, refused)]
    return Bars(tuple(round(float(edge), 4) for edge in edges), tuple(counts[0]), tuple(counts[1]))


def _speakers(clips: Sequence[Clip], names: Mapping[str, str]) -> tuple[SpeakerReport, ...]:
    count, seconds = Counter[str](), Counter[str]()
    for clip in clips:
        count[clip.speaker] += 1
        seconds[clip.speaker] += clip.seconds  # type: ignore[assignment]
    return tuple(
        SpeakerReport(folder, name, count[folder], round(float(seconds[folder]), 2))
        for name, folder in sorted(names.items(), key=lambda item: item[1])
    )


def _advice(
    kept: Sequence[Candidate], counted: Mapping[str, int], speakers: Sequence[SpeakerReport], clips: int
) -> tuple[str, ...]:
    found = [sentence for reason, sentence in ADVICE.items() if counted.get(reason)]
    found += [
        f"{speaker.name or speaker.speaker}: {speaker.seconds:.0f} s are little; fine-tuning begins to work with "
        f"{SCARCE_SECONDS:.0f} s and is good from {PLENTY_SECONDS:.0f} s on"
        for speaker in speakers
        if speaker.seconds < SCARCE_SECONDS
    ]
    narrow = sum(candidate.piece.bandwidth < TELEPHONE for candidate in kept)
    if narrow:
        found.append(f"{narrow} of {len(kept)} clips hold nothing above {TELEPHONE / 1000:g} kHz: they will sound dull")
    if counted.get("language", 0) > clips / 2:
        found.insert(0, "most texts are in another language than the dataset's: is its language right?")
    elif clips and len(kept) < (1 - MANY_REFUSED) * clips:
        found.insert(0, f"{clips - len(kept)} of {clips} clips were refused: see the reasons before you train")
    return tuple(found)
