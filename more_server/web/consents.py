"""Consents to a voice being cloned, as OpenAI's client keeps them: `/v1/audio/voice_consents`."""

import asyncio
from typing import Any, Literal

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from more_server.audit import Actor, AuditLog
from more_server.errors import BadInput, ConsentNotFound, StorageError
from more_server.speak import Speaker
from more_server.tables import LimitSettings
from more_server.voicebank.consents import Consent, Consents, check_recording, checked_name, new_consent
from more_server.voicebank.consents_table import consents_of
from more_server.web import wire
from more_server.web.admin import answer, caller
from more_server.web.described import FormBody, described, said
from more_server.web.uploads import Form, looked_through, read_form, uploads

VOICES = {"scope": "voices"}
MOST_LISTED = 100
TEXTS, RECORDING = ("language", "name"), "recording"
PAGE = {
    "after": said(str, "Id of a consent; the page begins behind it."),
    "limit": said(int, "Consents.", ge=1, le=MOST_LISTED),
}
SENT = FormBody(texts=TEXTS, files=(RECORDING,), needed=(*TEXTS, RECORDING))
MISSING = (ConsentNotFound,)

Asked = Request[Any, Any, Any]


class ConsentName(msgspec.Struct):
    """`POST /v1/audio/voice_consents/{id}`."""

    name: str
    """1 to 100 visible characters."""


class ConsentItem(msgspec.Struct):
    """A consent; its recording stays on the server."""

    id: str
    """What a new voice names as its `consent`."""
    created_at: int
    """Unix seconds."""
    language: str
    """Of the recording."""
    name: str
    """What its owner calls it."""
    object: Literal["audio.voice_consent"] = "audio.voice_consent"


class ConsentList(msgspec.Struct):
    """`GET /v1/audio/voice_consents`, the latest first."""

    data: list[ConsentItem]
    has_more: bool
    """Whether another page begins after the last one of these."""
    object: Literal["list"] = "list"


class ConsentDeleted(msgspec.Struct):
    """`DELETE /v1/audio/voice_consents/{id}`."""

    id: str
    deleted: bool = True
    object: Literal["audio.voice_consent"] = "audio.voice_consent"


def routes(limits: LimitSettings) -> list[Any]:
    """HANDLERS for an application."""
    return [*OTHERS, uploads(UPLOADS, limits, recordings=1)]


# Threads are used within the handlers: Litestar's sync_to_thread wraps one anew for every application (web/keys.py).


@get("/v1/audio/voice_consents", opt=described(VOICES, answer=ConsentList, query=PAGE, errors=MISSING))
async def list_all(
    speaker: NamedDependency[Speaker], after: FromQuery[str] = "", limit: FromQuery[int] = 20
) -> Response[bytes]:
    """Consents, the latest first: 20 unless `?limit=` says otherwise, from the one after `?after=` on."""
    if not 1 <= limit <= MOST_LISTED:
        raise BadInput(f"limit is 1 to {MOST_LISTED}", param="limit")
    page, more = await asyncio.to_thread(_consents(speaker).page, after, limit)
    return answer(ConsentList([_item(consent) for consent in page], more))


@post("/v1/audio/voice_consents", opt=described(VOICES, body=SENT, answer=ConsentItem), status_code=200)
async def create(
    request: Asked, speaker: NamedDependency[Speaker], audit: NamedDependency[AuditLog]
) -> Response[bytes]:
    """A consent to a voice being cloned: a form with `name`, `language` and the file `recording`."""
    form = await read_form(request, TEXTS, (RECORDING,), speaker.settings.limits.reference_bytes)
    return answer(_item(await looked_through(speaker, _create, speaker, audit, caller(request), form)))


@get("/v1/audio/voice_consents/{consent_id:str}", opt=described(VOICES, answer=ConsentItem, errors=MISSING))
async def get_one(speaker: NamedDependency[Speaker], consent_id: FromPath[str]) -> Response[bytes]:
    """One consent, without its recording."""
    return answer(_item(await asyncio.to_thread(_consents(speaker).find, consent_id)))


@post(
    "/v1/audio/voice_consents/{consent_id:str}",
    opt=described(VOICES, body=ConsentName, answer=ConsentItem, errors=MISSING),
    status_code=200,
)
async def change(
    request: Asked, speaker: NamedDependency[Speaker], audit: NamedDependency[AuditLog], consent_id: FromPath[str]
) -> Response[bytes]:
    """Call a consent something else."""
    name = checked_name(wire.decode(await request.body(), ConsentName).name)
    return answer(_item(await asyncio.to_thread(_change, speaker, audit, caller(request), consent_id, name)))


@delete(
    "/v1/audio/voice_consents/{consent_id:str}",
    opt=described(VOICES, answer=ConsentDeleted, errors=MISSING),
    status_code=200,
)
async def remove(
    request: Asked, speaker: NamedDependency[Speaker], audit: NamedDependency[AuditLog], consent_id: FromPath[str]
) -> Response[bytes]:
    """Remove a consent and its recording; voices that were made with it stay, and keep in words what it was."""
    await asyncio.to_thread(_remove, speaker, audit, caller(request), consent_id)
    return answer(ConsentDeleted(consent_id))


UPLOADS = (list_all, create)
OTHERS = (get_one, change, remove)
HANDLERS = (*UPLOADS, *OTHERS)
"""All of them, for whoever describes or checks the routes."""


def _create(speaker: Speaker, audit: AuditLog, actor: Actor, form: Form) -> Consent:
    """What cannot be is refused before it is on record."""
    recordings = form.files.get(RECORDING, [])
    if len(recordings) != 1:
        raise BadInput(f"{len(recordings)} recordings; send one", param=RECORDING)
    suffix, content = recordings[0]
    made = new_consent(form.text("name"), form.text("language"), suffix)
    check_recording(suffix, content, speaker.settings.limits)
    told = {"name": made.name, "language": made.language, "recording": {made.recording: len(content)}}
    with audit.change(actor, "consents.create", made.id, told):
        _consents(speaker).add(made, content)
    return made


def _change(speaker: Speaker, audit: AuditLog, actor: Actor, consent_id: str, name: str) -> Consent:
    consents = _consents(speaker)
    consents.find(consent_id)
    with audit.change(actor, "consents.change", consent_id, {"name": name}):
        return consents.rename(consent_id, name)


def _remove(speaker: Speaker, audit: AuditLog, actor: Actor, consent_id: str) -> None:
    consents = _consents(speaker)
    try:
        name = consents.find(consent_id).name
    except StorageError:  # damaged: the more reason to remove it
        name = ""
    with audit.change(actor, "consents.delete", consent_id, {"name": name}):
        consents.remove(consent_id)


def _consents(speaker: Speaker) -> Consents:
    return consents_of(speaker.settings)


def _item(consent: Consent) -> ConsentItem:
    return ConsentItem(consent.id, consent.created_at, consent.language, consent.name)
