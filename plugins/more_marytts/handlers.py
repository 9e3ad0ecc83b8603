"""The four paths of MaryTTS that clients use: form fields in, a whole WAV or lines of text out."""

import asyncio
import math
import uuid
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qsl

from litestar import HttpMethod, Request, Response, get, route
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from more_marytts import Settings
from more_server import Server, SpeechRequest, Voice, errors, leaving

MOST_FIELDS = 100
"""MaryTTS has eleven effects of two fields each beside its own dozen."""


def handlers(server: Server, settings: Settings) -> list[HTTPRouteHandler]:
    """The routes of a server that speaks."""
    speaking = {"scope": "speech" if settings.needs_key else "public"}
    listing = {"scope": "discovery" if settings.needs_key else "public"}

    @route(
        "/process",
        http_method=[HttpMethod.GET, HttpMethod.POST],
        status_code=200,
        opt=speaking,
        exception_handlers={errors.MoreError: _told, HTTPException: _refused},
    )
    async def process(request: Request[Any, Any, Any]) -> Response[Any]:
        """Speech for INPUT_TEXT, as a whole WAV file."""
        # speak2mary names no content type, so whatever comes is read as a form.
        fields = _fields(request.scope["query_string"], await request.body())
        asked = _asked(fields, settings, request.headers)
        wav = await leaving.unless_gone(request.receive, _whole(server, asked))
        if wav is None:
            return Response(None, status_code=leaving.CLIENT_LEFT)
        return Response(wav, media_type="audio/x-wav")

    @get("/voices", opt=listing, media_type="text/plain")
    async def voices() -> str:
        """A line for each voice: name, locale, gender (`u`: not known), type."""
        found = await asyncio.to_thread(server.all_voices)
        return "".join(f"{voice.id} {_locales(voice, server)[0]} u xtts\n" for voice in found)

    @get("/locales", opt=listing, media_type="text/plain")
    async def locales() -> str:
        """A line for each language that a voice was recorded in."""
        found = await asyncio.to_thread(server.all_voices)
        return "".join(f"{one}\n" for one in sorted({one for voice in found for one in _locales(voice, server)}))

    @get("/version", opt={"scope": "public"}, media_type="text/plain", sync_to_thread=False)
    def version() -> str:
        """Clients look for these three words."""
        return "Mary TTS server (MORE)\n"

    return [process, voices, locales, version]


def _fields(query: bytes, body: bytes) -> dict[str, str]:
    """Fields of the address and of the body; the body's count where both have one. Raises BadInput."""
    fields: dict[str, str] = {}
    for part in (query, body):
        try:
            text = part.decode()
            fields |= parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
        except ValueError as error:
            raise errors.BadInput(f"the request is no form of at most {MOST_FIELDS} fields in UTF-8") from error
    return fields


def _asked(fields: dict[str, str], settings: Settings, headers: Mapping[str, str]) -> SpeechRequest:
    """What a form asks for; effects, styles and whatever else MaryTTS knows are left out. Raises BadInput."""
    for name, allowed in (("INPUT_TYPE", "TEXT"), ("OUTPUT_TYPE", "AUDIO")):
        if (value := fields.get(name, allowed)) != allowed:
            raise errors.BadInput(f"{name} {errors.shown(value)} is not known here; it must be {allowed}", param=name)
    # WAVE_FILE is today's name, WAVE that of older clients; no other kind can be told by its beginning.
    if not (kind := fields.get("AUDIO", "WAVE_FILE")).startswith("WAVE"):
        raise errors.BadInput(f"AUDIO {errors.shown(kind)} is not made here; it must be WAVE_FILE", param="AUDIO")
    text = fields.get("INPUT_TEXT", "")
    if not text.strip():
        raise errors.BadInput("INPUT_TEXT is empty; it is the text to speak", param="INPUT_TEXT")
    voice = fields.get("VOICE", "").strip()
    return SpeechRequest(
        text=text,
        voice=settings.voices.get(voice, voice) or None,
        language=fields.get("LOCALE", "").strip() or None,
        whole=True,
        door="marytts",
        user_agent=headers.get("user-agent", ""),
        traceparent=headers.get("traceparent", ""),
    )


async def _whole(server: Server, asked: SpeechRequest) -> bytes:
    async with aclosing(server.spoken(asked, f"marytts_{uuid.uuid4().hex}", "wav")) as pieces:
        return b"".join([piece async for piece in pieces])


def _told(_request: Request[Any, Any, Any], error: errors.MoreError) -> Response[str]:
    """Response for an error, as MaryTTS told its own."""
    headers = {} if error.retry_after is None else {"retry-after": str(math.ceil(error.retry_after))}
    return Response(f"{error.message}\n", status_code=error.status, headers=headers, media_type="text/plain")


def _refused(_request: Request[Any, Any, Any], error: HTTPException) -> Response[str]:
    """Response for the framework's own refusals, such as of a body that is too large."""
    return Response(f"{error.detail}\n", status_code=error.status_code, media_type="text/plain")


def _locales(voice: Voice, server: Server) -> list[str]:
    """Languages of a voice as Java writes them: pt-br is pt_BR."""
    tags = voice.languages or (str(server.settings.default_language),)
    parted = [tag.replace("_", "-").partition("-") for tag in tags]
    return [f"{language}_{region.upper()}" if region else language for language, _, region in parted]
