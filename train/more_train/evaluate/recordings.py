"""An exam of a dataset's held-out recordings, each said by a voice that is made of the speaker's other ones."""

from collections.abc import Sequence
from pathlib import Path

from more_server.audio.encode import encode_file
from more_server.audio.read import read_file
from more_server.errors import BadInput, MoreError, shown
from more_server.settings import Settings
from more_server.speech import Audio, Voice
from more_train.dataset.format import SAMPLE_RATE, Clip, read_dataset
from more_train.evaluate.content import cepstra
from more_train.evaluate.exam import Exam, NewVoice, Trial, Wanted, new_voices, spread, voice_id, voice_name
from more_train.evaluate.report import Material

HELD_OUT = "held_out"
VOICE_SECONDS = 30.0
"""Of reference for a voice: what the conditioning uses of it."""
MOST_CLIP_BYTES, MOST_CLIP_SECONDS = 100_000_000, 60.0


def from_dataset(settings: Settings, folder: Path, wanted: Wanted) -> Exam:
    """Held-out clips of a dataset; without a voice that is wanted, each speaker's own is made of his training clips.

    Raises BadInput for what is no dataset, one without held-out clips, and where none of them can be used.
    """
    dataset, clips = read_dataset(folder)
    held_out = spread([clip for clip in clips if clip.split == HELD_OUT], wanted.count)
    if not held_out:
        raise BadInput(
            f"the dataset {dataset.name} has no clips that are held out: a model is not judged by what it learnt. "
            "Build it again with more recordings",
            param="dataset",
        )
    added, left_out = _voices(settings, folder, clips, held_out, wanted)
    names = [voice_name(name) for name in wanted.voices]
    spoken_by = {new.voice.name: new.voice.id for new in added}
    trials = []
    for number, clip in enumerate(held_out):
        voice = names[number % len(names)] if names else spoken_by.get(clip.speaker)
        try:
            if voice is not None:  # that its speaker has none was told
                trials.append(_trial(folder, clip, voice))
        except MoreError as error:
            left_out.append(f"{clip.id}: {error.message}")
    if not trials:
        raise BadInput(f"no held-out clip of {dataset.name} can be used: {'; '.join(left_out[:3])}", param="dataset")
    material = Material(
        name=dataset.name,
        kind="dataset",
        references="held-out recordings",
        languages=tuple(sorted({trial.language for trial in trials})),
        voices=tuple(dict.fromkeys(trial.voice for trial in trials)),
        quality=wanted.quality,
        seed=wanted.seed,
        recogniser=wanted.recogniser,
        left_out=tuple(left_out),
    )
    return Exam(material=material, trials=tuple(trials), voices=tuple(added), recordings=not wanted.voices)


def _voices(
    settings: Settings, folder: Path, clips: Sequence[Clip], held_out: Sequence[Clip], wanted: Wanted
) -> tuple[list[NewVoice], list[str]]:
    """Voices that the server has to be given, and why a speaker has none."""
    if wanted.voices:
        return [one for name in wanted.voices for one in new_voices(settings, name)], []
    added, left_out = list[NewVoice](), list[str]()
    for speaker in dict.fromkeys(clip.speaker for clip in held_out):
        try:
            added.append(_voice(folder, speaker, [clip for clip in clips if clip.speaker == speaker]))
        except BadInput as error:
            left_out.append(error.message)
    return added, left_out


def _trial(folder: Path, clip: Clip, voice: str) -> Trial:
    audio = clip_audio(folder, clip)
    found = cepstra(audio)
    if found is None:
        raise BadInput("the recording is silent or too short to be compared with")
    if not clip.text.strip():
        raise BadInput("it has no text")
    return Trial(
        id=clip.id,
        text=clip.text,
        language=clip.language,
        voice=voice,
        speaker=clip.speaker,
        reference=audio,
        readings={clip.speaker: found},
    )


def clip_audio(folder: Path, clip: Clip) -> Audio:
    """A clip of a dataset. Raises BadInput."""
    return read_file(
        folder / clip.file,
        sample_rate=SAMPLE_RATE,
        max_bytes=MOST_CLIP_BYTES,
        max_seconds=MOST_CLIP_SECONDS,
        max_channels=1,
        param="dataset",
    )


def voice_clips(folder: Path, clips: Sequence[Clip]) -> list[Audio]:
    """The longest training clips of a speaker, as many as a voice needs; silent and broken ones are passed over."""
    chosen, length = list[Audio](), 0.0
    for clip in sorted((clip for clip in clips if clip.split != HELD_OUT), key=lambda clip: (-clip.seconds, clip.id)):
        if length >= VOICE_SECONDS:
            break
        try:
            audio = clip_audio(folder, clip)
        except BadInput:
            continue
        if cepstra(audio) is not None:
            chosen.append(audio)
            length += audio.seconds
    return chosen


def _voice(folder: Path, speaker: str, clips: Sequence[Clip]) -> NewVoice:
    chosen = voice_clips(folder, clips)
    if not chosen:
        raise BadInput(f"speaker {shown(speaker)} has no training clip that a voice could be made of; name a voice")
    files = {
        f"reference-{number:02}.flac": encode_file(clip.samples, clip.sample_rate, "flac")
        for number, clip in enumerate(chosen, start=1)
    }
    languages = tuple(dict.fromkeys(clip.language for clip in clips))
    voice = Voice(id=voice_id(speaker, "speaker"), name=speaker, languages=languages, references=tuple(files))
    return NewVoice(voice, files)
