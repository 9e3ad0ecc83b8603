"""What a document is spoken as: passages, each a step of its own, and all that decides how they sound."""

import asyncio
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import NamedTuple

import msgspec

from more_server.engine.guards import SHORT_CODES, usual_codes
from more_server.errors import BadInput, ModelNotFound
from more_server.fleet import LoadedModel
from more_server.narration.document import Chapter, Document, is_said
from more_server.narration.request import SpeechJob
from more_server.speak import Speaker
from more_server.speech import Profile, SpeechRequest
from more_server.text import TextStream, character_limit, normalise

DOOR = "job"
"""As the log has it."""
NO_HURRY = 1000
"""`first_segment_tokens` of what nobody waits for: the most that a profile may have, more than a segment holds."""
NO_LANGUAGE = ("und", "mul", "zxx", "mis")
"""Of BCP-47, for what is not known, several, none, and one without a code."""
SAMPLE_CHARACTERS = 2000
"""Of the longest chapter, by which a language is recognised: title pages and licences are often in another one."""
PARAGRAPH = "\n"
PARTS = 3
"""A sentence that is too long is cut behind the last clause in the first two thirds of it, so that no crumb is left."""
SEED_BYTES = 6
"""Seeds of passages stay below 2^53, as those do that the server draws."""


class Cut(NamedTuple):
    """A stretch of a chapter that is spoken in one go."""

    first: int
    last: int
    """Paragraphs that it begins and ends in."""
    glue: str
    """What stands between it and the stretch before."""
    text: str
    spoken: str
    """The text with numbers and signs in words."""
    seconds: float
    """Of its audio as it is expected."""
    is_heading: bool


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """What is spoken in one go, about one segment of the engine: a sentence or some short ones."""

    number: int
    """From 0, over the whole document."""
    chapter: int
    """Its chapter, from 0."""
    text: str
    """As it is written in the document; lines where several short paragraphs are spoken together."""
    seconds: float
    """Of its audio as it is expected, the pause left out."""
    pause_seconds: float = 0.0
    """Silence to put behind its audio; 0: it goes on with the next one, whose pause its audio has already."""
    continues: bool = False
    """The paragraph goes on in the next passage."""
    seed: int
    """Its own, so that its audio depends on nothing that was spoken before or beside it."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A document ready to be spoken: whoever speaks it, whenever, makes the same audio."""

    title: str
    author: str
    language: str
    """One of the model's."""
    model: str
    """Id of the model."""
    voice: str
    """Id of a voice, or a mixture."""
    voice_version: str
    """Another one when the recordings of the voice, or of one in the mixture, have changed."""
    profile: Profile
    """The quality as it was when the plan was made, but for the short first segment that nobody waits for."""
    speed: float
    """Factor on the profile's."""
    seed: int
    """That the passages' are derived from."""
    sample_rate: int
    """Hertz of the model's audio."""
    chapters: tuple[str, ...]
    """Titles, in order; each has passages."""
    passages: tuple[Passage, ...]
    """In order; none while it is not completed."""

    @property
    def seconds(self) -> float:
        """Of all audio as it is expected, pauses included."""
        return sum(passage.seconds + passage.pause_seconds for passage in self.passages)

    def request(self, passage: Passage) -> SpeechRequest:
        """What the speaker is asked for a passage."""
        return SpeechRequest(
            text=_as_paragraphs(passage.text),
            voice=self.voice,
            model=self.model,
            profile=self.profile,
            language=self.language,
            speed=self.speed,
            seed=passage.seed,
            continues=passage.continues,
            priority=1,
            door=DOOR,
        )

    def spoken(self, passage: Passage) -> str:
        """The text of a passage as it will be said: numbers and signs in words."""
        return normalise(_as_paragraphs(passage.text), self.language)


async def begin(speaker: Speaker, asked: SpeechJob, document: Document) -> Plan:
    """Pin what a document is spoken with: a plan without chapters and passages.

    Raises BadInput and its kin naming the field, and whatever else speech may be refused with.
    """
    request = _request(asked, document, speaker.settings.limits.text_characters)
    try:
        settled = await speaker.resolve(request, DOOR)
    except BadInput as error:
        if error.param == "language" and request.language != asked.language:
            raise BadInput(f"the document's own {error.message}; name another one", param="language") from error
        raise
    model = speaker.fleet.leased(settled.model)
    pinned = Plan(
        title=asked.title or document.title,
        author=asked.author or document.author,
        language=settled.language,
        model=model.id,
        # A mixture's own name has its weights rounded.
        voice=(asked.voice or speaker.settings.default_voice) if "(" in settled.voice.id else settled.voice.id,
        voice_version=settled.voice.version,
        profile=msgspec.structs.replace(settled.profile, first_segment_tokens=NO_HURRY),
        speed=asked.speed,
        seed=settled.seed,
        sample_rate=settled.sample_rate,
        chapters=(),
        passages=(),
    )
    cutter = Cutter(model, pinned)
    if not await asyncio.to_thread(lambda: any(any(cutter.cuts(chapter)) for chapter in document.chapters)):
        raise BadInput("the document holds nothing that can be spoken", param="document" if asked.document else "input")
    return pinned


async def completed(speaker: Speaker, pinned: Plan, asked: SpeechJob, document: Document) -> Plan:
    """The plan with its chapters and passages: 20 s of work for a million characters on a slow core."""
    cutter = Cutter(model_of(speaker, pinned), pinned)
    # One at a time: the job may have been cancelled meanwhile.
    cut = [(chapter.title, await asyncio.to_thread(cutter.cut, chapter)) for chapter in document.chapters]
    chapters = [(title, cuts) for title, cuts in cut if cuts]
    passages = numbered((cuts for _, cuts in chapters), asked, pinned.seed, ends=True)
    return msgspec.structs.replace(pinned, chapters=tuple(title for title, _ in chapters), passages=tuple(passages))


def model_of(speaker: Speaker, pinned: Plan) -> LoadedModel:
    """The model of a plan. Raises ModelNotFound where it is not loaded any more."""
    try:
        return speaker.fleet.find(pinned.model)
    except ModelNotFound as error:
        raise ModelNotFound(
            f"the model {pinned.model} was unloaded while the job spoke with it; resume the job, which loads it again",
            param="model",
        ) from error


def numbered(chapters: Iterable[Sequence[Cut]], asked: SpeechJob, seed: int, *, ends: bool) -> list[Passage]:
    """The cuts of chapters as passages, with the pauses between them; ends: nothing comes behind the last one."""
    passages: list[Passage] = []
    for chapter, cuts in enumerate(chapters):
        for cut, following in zip_longest(cuts, cuts[1:]):
            continues = following is not None and following.first == cut.last
            passages.append(
                Passage(
                    number=len(passages),
                    chapter=chapter,
                    text=cut.text,
                    seconds=cut.seconds,
                    pause_seconds=0.0 if continues else _pause(cut, asked, ends_chapter=following is None),
                    continues=continues,
                    seed=_seed(seed, len(passages)),
                )
            )
    if ends and passages:
        passages[-1] = msgspec.structs.replace(passages[-1], pause_seconds=0.0)
    return passages


def _pause(cut: Cut, asked: SpeechJob, *, ends_chapter: bool) -> float:
    if ends_chapter:
        return asked.chapter_pause_seconds
    if cut.is_heading:
        return max(asked.paragraph_pause_seconds, asked.chapter_pause_seconds / 2)
    return asked.paragraph_pause_seconds


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {number}".encode()).digest()[:SEED_BYTES])


def _request(asked: SpeechJob, document: Document, most: int) -> SpeechRequest:
    """What settles everything but the passages."""
    longest = max(document.chapters, key=lambda chapter: sum(map(len, chapter.paragraphs)))
    paragraphs = filter(is_said, longest.paragraphs)
    own = "" if document.language.lower().partition("-")[0] in NO_LANGUAGE else document.language
    return SpeechRequest(
        text="\n\n".join(paragraphs)[: min(SAMPLE_CHARACTERS, most)],
        voice=asked.voice,
        model=asked.model,
        quality=asked.quality,
        language=own if own and (asked.language or "auto").strip().lower() == "auto" else asked.language,
        speed=asked.speed,
        seed=asked.seed,
        priority=1,
        door=DOOR,
    )


def _as_paragraphs(text: str) -> str:
    """As the text front end tells paragraphs from wrapped lines."""
    return text.replace(PARAGRAPH, 2 * PARAGRAPH)


class Cutter:
    """Cuts chapters where the engine would: at ends of sentences, what is short joined, within a segment's limits."""

    def __init__(self, model: LoadedModel, pinned: Plan) -> None:
        self._language = pinned.language
        self._tokenizer = model.engine.tokenizer
        self._most_characters = character_limit(pinned.language)
        self._most_tokens = model.engine.config.max_segment_tokens
        self._seconds_per_code = model.engine.config.seconds_per_code / (pinned.profile.speed * pinned.speed)

    def cut(self, chapter: Chapter) -> list[Cut]:
        """What is spoken of a chapter, in order."""
        return list(self.cuts(chapter))

    def cuts(self, chapter: Chapter) -> Iterator[Cut]:
        """The same, one by one."""
        said = [paragraph for paragraph in chapter.paragraphs if is_said(paragraph)]
        heading = said.index(chapter.title) if chapter.title in said else None
        before: Cut | None = None
        for number, paragraph in enumerate(said):
            for cut in self._paragraph(number, paragraph, number == heading):
                joined = self._joined(before, cut) if before else None
                if before and not joined and self._is_spoken(before):
                    yield before
                before = joined or cut
        if before and self._is_spoken(before):
            yield before

    def _paragraph(self, number: int, paragraph: str, heading: bool) -> Iterator[Cut]:
        reached = 0
        for text, spoken in self._sentences(paragraph, None):
            begins = paragraph.index(text, reached)
            glue = paragraph[reached:begins] if reached else PARAGRAPH
            reached = begins + len(text)
            yield Cut(number, number, glue, text, spoken, self._seconds(spoken), heading)

    def _sentences(self, text: str, limit: int | None) -> Iterator[tuple[str, str]]:
        """Sentences as they are written and as they are spoken; those that are too long in parts."""
        stream = TextStream(self._language, limit)
        stretches = [*stream.feed(text), *stream.finish()]
        for stretch in stretches:
            spoken = normalise(stretch, self._language)
            within = len(stretch) * (PARTS - 1) // PARTS
            # Not inside a word: a number would become two.
            is_word = " " not in stretch[: within + 1] and stretch[0] < "\u2e80"
            if is_word or (limit is not None and stretches == [text]) or self._fits(spoken):
                yield stretch, spoken
            else:
                yield from self._sentences(stretch, within)

    def _joined(self, cut: Cut, following: Cut) -> Cut | None:
        """Both in one, where they fit into one segment and belong together."""
        if cut.is_heading or following.is_heading or not (following.first == cut.last or self._is_tiny(cut)):
            return None
        spoken = f"{cut.spoken} {following.spoken}".strip()
        text = f"{cut.text}{following.glue}{following.text}"
        if len(text) > self._most_characters or not self._fits(spoken):
            return None
        seconds = cut.seconds + following.seconds
        return Cut(cut.first, following.last, cut.glue, text, spoken, seconds, is_heading=False)

    def _fits(self, spoken: str) -> bool:
        """The engine's splitter leaves it whole."""
        return len(spoken) <= self._most_characters and self._count(spoken) <= self._most_tokens

    def _is_tiny(self, cut: Cut) -> bool:
        """What the engine holds back because models get it wrong most; it sounds better with what follows."""
        return usual_codes(cut.spoken, self._language) <= SHORT_CODES

    def _is_spoken(self, cut: Cut) -> bool:
        return is_said(cut.spoken) and self._count(cut.spoken) > 1

    def _seconds(self, spoken: str) -> float:
        return usual_codes(spoken, self._language) * self._seconds_per_code

    def _count(self, spoken: str) -> int:
        return self._tokenizer.count(spoken, self._language)
