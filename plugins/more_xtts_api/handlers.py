"""The paths of xtts-api-server that clients use: JSON or a query in, WAV out, whole or as it is made."""

import asyncio
import math
import uuid
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar import HttpMethod, Request, Response, get, post, route
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from more_server import Server, SpeechRequest, Voice, errors, leaving
from more_xtts_api import Settings

Result = TypeVar("Result")

LEAST_SPEED, MOST_SPEED = 0.25, 4.0
ENDING = ".wav"
MOST_FIELDS = 100

LANGUAGES = (
    ("ar", "Arabic"),
    ("pt", "Brazilian Portuguese"),
    ("zh-cn", "Chinese"),
    ("cs", "Czech"),
    ("nl", "Dutch"),
    ("en", "English"),
    ("fr", "French"),
    ("de", "German"),
    ("hi", "Hindi"),
    ("hu", "Hungarian"),
    ("it", "Italian"),
    ("ja", "Japanese"),
    ("ko", "Korean"),
    ("pl", "Polish"),
    ("ru", "Russian"),
    ("es", "Spanish"),
    ("tr", "Turkish"),
)
"""What xtts-api-server called the languages of XTTS-v2."""


class Sent(msgspec.Struct):
    """Of `/tts_to_audio` and `/tts_stream`; whatever else is sent is left out."""

    text: str = ""
    speaker_wav: str | None = None
    """A voice's id, alias or name, or that of a file; absent or empty: the default voice."""
    language: str | None = None
    """Absent or empty: the voice's own."""


class SentSettings(msgspec.Struct):
    """Of `/set_tts_settings`; all but the speed is left out."""

    speed: float | str | None = None
    """A string where it comes from a slider of a page; absent: it stays."""


class Kept(msgspec.Struct):
    """Of `/get_tts_settings`: what somebody set, for everybody."""

    speed: float = 1.0
    """Factor on the profile's own speed."""


class Speaker(msgspec.Struct):
    """A voice, for choosing."""

    name: str
    """Shown; no other voice has it."""
    voice_id: str
    """Sent back as `speaker_wav`."""
    preview_url: str = ""
    """Always empty: SillyTavern's list of voices would have speech made for all of them as soon as it is opened."""


def handlers(server: Server, settings: Settings) -> list[HTTPRouteHandler]:
    """The routes of a server that speaks, and what they keep."""
    # Held by functions, not by an object with methods: routes are copied, and it with them, when others' change.
    kept = Kept()
    speaking = {"scope": "speech" if settings.needs_key else "public"}
    listing = {"scope": "discovery" if settings.needs_key else "public"}
    return [*_speech(server, kept, speaking), *_settings(kept, speaking, listing), *_lists(server, listing)]


def _speech(server: Server, kept: Kept, opt: dict[str, str]) -> list[HTTPRouteHandler]:
    @post("/tts_to_audio", status_code=200, opt=opt, exception_handlers=_failures())
    async def tts_to_audio(request: Request[Any, Any, Any]) -> Response[Any]:
        """Speech as a whole WAV file."""
        return await _spoken(request, server, kept, whole=True)

    @route(
        "/tts_stream",
        http_method=[HttpMethod.GET, HttpMethod.POST],
        status_code=200,
        opt=opt,
        exception_handlers=_failures(),
    )
    async def tts_stream(request: Request[Any, Any, Any]) -> Response[Any]:
        """Speech as WAV while it is made."""
        # HTTP/1.0 has no chunks: a connection cut in the middle would look like the end.
        return await _spoken(request, server, kept, whole=request.scope["http_version"] == "1.0")

    return [tts_to_audio, tts_stream]


def _settings(kept: Kept, speaking: dict[str, str], listing: dict[str, str]) -> list[HTTPRouteHandler]:
    @post("/set_tts_settings", status_code=200, opt=speaking, exception_handlers=_failures())
    async def set_tts_settings(request: Request[Any, Any, Any]) -> dict[str, str]:
        """Keep the speed for all speech that is asked for here."""
        sent = _read(b"", await request.body(), SentSettings)
        if sent.speed is not None:
            kept.speed = _speed(sent.speed)
        return {"message": "Settings successfully applied"}

    @get("/get_tts_settings", opt=listing, exception_handlers=_failures(), sync_to_thread=False)
    def get_tts_settings() -> Kept:
        """What was set."""
        return kept

    return [set_tts_settings, get_tts_settings]


def _lists(server: Server, opt: dict[str, str]) -> list[HTTPRouteHandler]:
    @get("/speakers", opt=opt, exception_handlers=_failures())
    async def speakers() -> list[Speaker]:
        """Every voice, to be chosen by a name."""
        found = await asyncio.to_thread(server.all_voices)
        return _speakers(found)

    @get("/speakers_list", opt=opt, exception_handlers=_failures())
    async def speakers_list() -> list[str]:
        """Every voice by its id, to be sent as `speaker_wav`."""
        return [voice.id for voice in await asyncio.to_thread(server.all_voices)]

    @get("/languages", opt=opt, exception_handlers=_failures())
    async def languages() -> dict[str, dict[str, str]]:
        """Names and codes of what the model speaks."""
        return {"languages": {name: code for code, name in LANGUAGES if code in server.languages()}}

    return [speakers, speakers_list, languages]


async def _spoken(request: Request[Any, Any, Any], server: Server, kept: Kept, *, whole: bool) -> Response[Any]:
    asked = await _asked(request, server, kept, whole)
    begun = await leaving.unless_gone(request.receive, _begun(server, asked))
    if begun is None:
        return Response(None, status_code=leaving.CLIENT_LEFT)
    chunks, headers = _to_the_end(*begun), {"cache-control": "no-cache"}
    if whole:
        async with aclosing(chunks):
            return Response(b"".join([chunk async for chunk in chunks]), media_type="audio/wav", headers=headers)
    return Stream(chunks, media_type="audio/wav", headers=headers | {"x-accel-buffering": "no"})


def _read(query: bytes, body: bytes, kind: type[Result]) -> Result:
    """Fields of the address and of the body, which is JSON and counts where both have one. Raises BadInput."""
    try:
        pairs = parse_qsl(query.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
        fields: dict[str, Any] = dict(pairs)
        if body:
            fields |= msgspec.json.decode(body, type=dict[str, Any])
        return msgspec.convert(fields, kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        what, _, path = str(error).partition(" - at `$.")
        field = path.rstrip("`")
        raise errors.BadInput(f"{field or 'the request'} cannot be read: {what}", param=field or None) from error


async def _asked(request: Request[Any, Any, Any], server: Server, kept: Kept, whole: bool) -> SpeechRequest:
    """Raises BadInput."""
    sent = _read(request.scope["query_string"], await request.body(), Sent)
    if not sent.text.strip():
        raise errors.BadInput("text is empty; it is the text to speak", param="text")
    return SpeechRequest(
        text=sent.text,
        voice=await _voice(server, (sent.speaker_wav or "").strip()) or None,
        language=(sent.language or "").strip() or None,
        speed=kept.speed,
        whole=whole,
        door="xtts_api",
        user_agent=request.headers.get("user-agent", ""),
        traceparent=request.headers.get("traceparent", ""),
    )


async def _voice(server: Server, name: str) -> str:
    """The name of a voice for that of a file, which xtts-api-server took as well; whatever else is named, as it is."""
    stem = name[: -len(ENDING)]
    if not stem or not name.lower().endswith(ENDING):
        return name
    found = await asyncio.to_thread(server.all_voices)
    known = {one.lower() for voice in found for one in (voice.id, voice.name, *voice.aliases)}
    return name if name.lower() in known else stem


def _speed(sent: float | str) -> float:
    """Raises BadInput."""
    try:
        speed = float(sent)
    except ValueError:
        speed = math.nan
    if not LEAST_SPEED <= speed <= MOST_SPEED:
        raise errors.BadInput(f"speed must be a number from {LEAST_SPEED} to {MOST_SPEED}", param="speed")
    return speed


def _speakers(voices: list[Voice]) -> list[Speaker]:
    names = Counter(voice.name for voice in voices)
    return [
        Speaker(name=voice.name if names[voice.name] == 1 else f"{voice.name} ({voice.id})", voice_id=voice.id)
        for voice in voices
    ]


async def _begun(server: Server, asked: SpeechRequest) -> tuple[bytes, AsyncGenerator[bytes, None]]:
    """The first bytes of speech, and what makes the rest."""
    chunks = server.spoken(asked, _new_id(), "wav")
    return await anext(chunks), chunks


async def _to_the_end(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """All bytes; closing it closes the rest."""
    async with aclosing(rest):
        yield first
        async for chunk in rest:
            yield chunk


def _new_id() -> str:
    return f"xtts_api_{uuid.uuid4().hex}"


def _failures() -> dict[int | type[Exception], Any]:
    return {errors.MoreError: _told, HTTPException: _refused}


def _told(_request: Request[Any, Any, Any], error: errors.MoreError) -> Response[dict[str, str]]:
    """Response for an error, in the shape that xtts-api-server gave its own."""
    headers = {} if error.retry_after is None else {"retry-after": str(math.ceil(error.retry_after))}
    return Response({"detail": error.message}, status_code=error.status, headers=headers)


def _refused(_request: Request[Any, Any, Any], error: HTTPException) -> Response[dict[str, str]]:
    """Response for the framework's own refusals, such as of a body that is too large."""
    return Response({"detail": error.detail}, status_code=error.status_code)
