"""Voices as OpenAI's client makes and removes them: `/v1/audio/voices`."""

import asyncio
import re
import secrets
import time
from functools import partial
from typing import Any, Literal

import msgspec
from litestar import Request, Response, delete, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from more_server.audit import AuditLog
from more_server.errors import BadInput, ConsentNotFound, VoiceNotFound, shown
from more_server.settings import Settings
from more_server.speak import Speaker
from more_server.speech import VOICE_ID, Voice
from more_server.tables import LimitSettings
from more_server.voicebank import details
from more_server.voicebank.consents import PREFIX, checked_name
from more_server.voicebank.consents_table import consents_of
from more_server.voicebank.details import RESERVED, Clips, Details
from more_server.voices import VoiceView, named_clips
from more_server.web.admin import answer, caller
from more_server.web.described import FormBody, described
from more_server.web.listings import list_voices
from more_server.web.uploads import Form, looked_through, read_form, uploads
from more_server.web.voices import discard, keep, prepare

VOICES = {"scope": "voices"}
FIELDS_OF_PROMPTS = ("prompt", "model", "script_hint")
FORM_TEXTS = ("name", "consent", "type", *FIELDS_OF_PROMPTS)
SAMPLE = "audio_sample"
SENT = FormBody(texts=("name", "consent", "type"), files=(SAMPLE,), needed=("name", "consent", SAMPLE))
NO_PROMPTS = (
    "voices are made of recordings here, not of a prompt: send a form (multipart/form-data) with audio_sample, "
    "consent and name"
)

Asked = Request[Any, Any, Any]


class VoiceMade(msgspec.Struct):
    """`POST /v1/audio/voices`."""

    id: str
    """What requests call it: its name, where that can be an id and is free."""
    created_at: int
    """Unix seconds."""
    name: str
    """As it was sent."""
    type: Literal["audio_sample"] = "audio_sample"
    object: Literal["audio.voice"] = "audio.voice"


class VoiceRemoved(msgspec.Struct):
    """`DELETE /v1/audio/voices/{id}`."""

    id: str
    deleted: bool = True
    object: Literal["audio.voice.deleted"] = "audio.voice.deleted"


def routes(limits: LimitSettings) -> list[Any]:
    """HANDLERS for an application."""
    return [uploads(HANDLERS, limits, limits.voice_references)]


@post("/v1/audio/voices", opt=described(VOICES, body=SENT, answer=VoiceMade), status_code=200)
async def create(
    request: Asked, speaker: NamedDependency[Speaker], audit: NamedDependency[AuditLog]
) -> Response[bytes]:
    """A new voice: a form with `name`, `consent` (words, or a consent's id) and one or several files `audio_sample`."""
    if request.content_type[0] == "application/json":  # as which OpenAI takes prompts alone
        raise BadInput(NO_PROMPTS, param="type")
    settings = speaker.settings
    form = await read_form(request, FORM_TEXTS, (SAMPLE,), settings.limits.reference_bytes)
    make = partial(_sampled, form, settings)
    made, _ = await looked_through(speaker, keep, speaker, audit, caller(request), "voices.create", make, "")
    prepare(request, speaker, made)
    return answer(VoiceMade(made.id, int(time.time()), made.name))


# The list, which has the same address, takes any path for a model's name, so this one has to as well.
@delete(
    "/v1/audio/voices/{voice_id:path}",
    opt=described(VOICES, answer=VoiceRemoved, errors=(BadInput, VoiceNotFound)),
    status_code=200,
)
async def remove(
    request: Asked, speaker: NamedDependency[Speaker], audit: NamedDependency[AuditLog], voice_id: FromPath[str]
) -> Response[bytes]:
    """Remove a voice and its recordings; what is being spoken by it goes on."""
    wanted = voice_id.removeprefix("/")
    await asyncio.to_thread(discard, speaker, audit, caller(request), wanted)
    return answer(VoiceRemoved(wanted))


HANDLERS = (list_voices, create, remove)
"""All that have these addresses."""


def _sampled(form: Form, settings: Settings, view: VoiceView) -> tuple[Voice, Clips]:
    """A voice from a form. Raises BadInput naming the field."""
    _check_type(form)
    title = checked_name(form.text("name"))
    fields = details.checked(Details(title=title, consent=_consent(form.text("consent"), settings)))
    clips = named_clips(form.files.get(SAMPLE, []), settings.limits)
    return details.new_voice(_free_id(view, title), fields, clips), clips


def _check_type(form: Form) -> None:
    kind = form.text("type")
    if kind == "prompt":
        raise BadInput(NO_PROMPTS, param="type")
    if kind not in ("", "audio_sample"):
        raise BadInput(f"type: {shown(kind)} is none; allowed is audio_sample", param="type")
    for field in FIELDS_OF_PROMPTS:
        if form.text(field):
            raise BadInput(f"{field} goes with a prompt; {NO_PROMPTS}", param=field)


def _consent(sent: str, settings: Settings) -> str:
    """Who agreed, in words; those of a consent where one is named. Raises BadInput."""
    told = sent.strip()
    if not told:
        raise BadInput(
            "consent is missing: say who agreed to the voice being cloned, or name a consent (POST "
            "/v1/audio/voice_consents)",
            param="consent",
        )
    if not told.startswith(PREFIX):
        return told
    try:
        return consents_of(settings).find(told).words()
    except ConsentNotFound as error:  # 404 would be about the address
        raise BadInput(error.message, param="consent") from error


def _free_id(view: VoiceView, name: str) -> str:
    """The name in lower case with hyphens where that can be an id and nobody else goes by it, else a random one."""
    wanted = re.sub(r"\s+", "-", name.lower())
    if VOICE_ID.fullmatch(wanted) and wanted not in RESERVED and not _is_taken(view, wanted):
        return wanted
    return f"voice_{secrets.token_hex(8)}"


def _is_taken(view: VoiceView, name: str) -> bool:
    """Aliases and titles of voices that came with the program may be claimed: OpenAI's names are among them."""
    return any(
        name == voice.id or (not voice.fixed and name in (*voice.aliases, voice.name.lower())) for voice in view.voices
    )
