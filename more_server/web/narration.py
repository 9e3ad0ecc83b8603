"""`POST /v1/jobs/preview`: how a document would be split and spoken, before hours go into it."""

import asyncio
from itertools import islice
from typing import Any, Literal

import msgspec
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import FromQuery

from more_server.errors import BadInput, ModelNotFound, VoiceNotFound
from more_server.leaving import CLIENT_LEFT, unless_gone
from more_server.narration.document import Chapter, Document
from more_server.narration.plan import Cutter, Passage, Plan, begin, model_of, numbered
from more_server.narration.reading import read
from more_server.narration.request import SpeechJob
from more_server.speak import Speaker
from more_server.tables import LimitSettings
from more_server.web import wire
from more_server.web.admin import answer
from more_server.web.described import described, said
from more_server.web.jobs import order, parted, taking

KIND = "speech"
MOST_SHOWN = 1000
"""Passages in one answer: a few hours of audio, worked out in a few seconds."""

Asked = Request[Any, Any, Any]


class PassageItem(msgspec.Struct, kw_only=True):
    """What is spoken in one go, and is one subtitle."""

    text: str
    """As it is written."""
    spoken: str
    """As it will be said: numbers, signs and abbreviations in words."""
    seconds: float
    """Of its audio as it is expected: by the usual codes per character of its language (engine/guards.py), 15
    characters a second in English, and the tempo."""
    pause_seconds: float
    """Silence that is put behind it."""


class ChapterItem(msgspec.Struct, kw_only=True):
    """A chapter."""

    number: int
    """From 1."""
    title: str
    """Empty: it has none."""
    characters: int
    paragraphs: int
    passages: list[PassageItem]
    """Those that are shown: the first ones, as far as `limit` reaches."""


class Preview(msgspec.Struct, kw_only=True):
    """A document as it would be spoken; nothing of it is kept."""

    title: str
    author: str
    language: str
    """One of the model's."""
    model: str
    voice: str
    quality: str
    characters: int
    """Of all chapters."""
    seconds: float
    """Of all audio as it is expected; of what is not shown, by its characters and the rate of what is."""
    complete: bool
    """Every passage is shown."""
    chapters: list[ChapterItem]
    """All of them, or the one that was asked for."""
    object: Literal["speech.preview"] = "speech.preview"


def routes(limits: LimitSettings) -> list[Any]:
    """HANDLERS for an application; it may be sent as much as what takes jobs."""
    return [taking(HANDLERS, limits)]


PART = {
    "chapter": said(int, "Only this one.", ge=1),
    "limit": said(int, "Passages that are shown.", ge=1, le=MOST_SHOWN),
}


@post(
    "/v1/jobs/preview",
    status_code=200,
    opt=described(
        {"scope": KIND},
        body=order("SpeechPreview", SpeechJob, KIND, KIND),
        answer=Preview,
        query=PART,
        errors=(VoiceNotFound, ModelNotFound),
    ),
)
async def preview(
    request: Asked,
    speaker: NamedDependency[Speaker],
    chapter: FromQuery[int | None] = None,
    limit: FromQuery[int] = 100,
) -> Response[Any]:
    """How the speech job with this body would be split and spoken.

    `chapter`: only this one, from 1. `limit`: passages, at most 1000.
    """
    speaker.check_ready()
    if not 1 <= limit <= MOST_SHOWN:
        raise BadInput(f"limit must be between 1 and {MOST_SHOWN}", param="limit")
    body = await request.body()
    found = await unless_gone(request.receive, _previewed(speaker, body, chapter, limit))
    return Response(None, status_code=CLIENT_LEFT) if found is None else answer(found)


HANDLERS = (preview,)
"""All of them, for whoever describes or checks the routes."""


async def _previewed(speaker: Speaker, body: bytes, chapter: int | None, limit: int) -> Preview:
    asked = await asyncio.to_thread(_asked, body)
    document = await asyncio.to_thread(read, asked)
    chosen = _chosen(document, chapter)
    pinned = await begin(speaker, asked, document)
    cutter = Cutter(model_of(speaker, pinned), pinned)
    return await asyncio.to_thread(_shown, pinned, cutter, asked, document, chosen, limit)


def _asked(body: bytes) -> SpeechJob:
    """The job of a body, which may be told of its end by a webhook; nothing ends here."""
    kind, _, fields = parted(body)
    if kind not in ("", KIND):
        raise BadInput(f"only jobs of the kind {KIND} can be previewed", param="kind")
    return wire.decode(fields, SpeechJob)


def _chosen(document: Document, chapter: int | None) -> list[tuple[int, Chapter]]:
    """Chapters with their numbers."""
    every = list(enumerate(document.chapters, 1))
    if chapter is None:
        return every
    if not 1 <= chapter <= len(every):
        raise BadInput(f"chapter must be between 1 and {len(every)}, which the document has", param="chapter")
    return [every[chapter - 1]]


def _shown(
    pinned: Plan, cutter: Cutter, asked: SpeechJob, document: Document, chosen: list[tuple[int, Chapter]], limit: int
) -> Preview:
    chapters: list[ChapterItem] = []
    shown: list[Passage] = []
    complete = len(chosen) == len(document.chapters)
    for number, chapter in chosen:
        left = limit - len(shown)
        # One more: whether the last one goes on is told by what follows it.
        cuts = list(islice(cutter.cuts(chapter), left + 1))
        ends = number == len(document.chapters) and len(cuts) <= left
        passages = numbered([cuts], asked, pinned.seed, ends=ends)[:left]
        complete &= len(cuts) <= left
        shown += passages
        chapters.append(_chapter(number, chapter, [_passage(pinned, passage) for passage in passages]))
    if not shown:
        raise BadInput("there is nothing in it that can be spoken", param="document" if asked.document else "input")
    seconds = sum(passage.seconds + passage.pause_seconds for passage in shown)
    characters = sum(map(_characters, document.chapters))
    return Preview(
        title=pinned.title,
        author=pinned.author,
        language=pinned.language,
        model=pinned.model,
        voice=pinned.voice,
        quality=pinned.profile.name,
        characters=characters,
        seconds=seconds if complete else seconds * characters / sum(len(passage.text) for passage in shown),
        complete=complete,
        chapters=chapters,
    )


def _chapter(number: int, chapter: Chapter, passages: list[PassageItem]) -> ChapterItem:
    return ChapterItem(
        number=number,
        title=chapter.title,
        characters=_characters(chapter),
        paragraphs=len(chapter.paragraphs),
        passages=passages,
    )


def _passage(pinned: Plan, passage: Passage) -> PassageItem:
    return PassageItem(
        text=passage.text,
        spoken=pinned.spoken(passage),
        seconds=passage.seconds,
        pause_seconds=passage.pause_seconds,
    )


def _characters(chapter: Chapter) -> int:
    return sum(map(len, chapter.paragraphs))
