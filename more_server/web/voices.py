"""Voices for administrators: `/v1/admin/voices`."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import msgspec
import structlog
from litestar import Request, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from msgspec import UNSET, UnsetType

from more_server.audio.report import ReferenceReport
from more_server.audit import Actor, AuditLog
from more_server.errors import BadInput, MoreError, VoiceNotFound, allowed, shown
from more_server.speak import Speaker
from more_server.speech import MixPart, Voice
from more_server.tables import LimitSettings
from more_server.voicebank import archive, details, mixture
from more_server.voicebank.details import TEXTS, Clips, Details
from more_server.voices import VoiceView, named_clips
from more_server.web import wire
from more_server.web.admin import ADMIN, answer, caller
from more_server.web.described import FormBody, described, said
from more_server.web.ranges import disposition
from more_server.web.uploads import Form, looked_through, media_type, read_archive, read_form, uploads

FORM_TEXTS = ("name", "title", "language", "aliases", *TEXTS, "store")
MADE_OF = ("title", "languages", "aliases", *TEXTS)
"""Fields of Details."""
SAMPLE = "audio_sample"
MISSING = (VoiceNotFound,)

Asked = Request[Any, Any, Any]
Make = Callable[[VoiceView], tuple[Voice, Clips]]
log = structlog.get_logger("more_server.web")


# -- in


class ChangeBody(Details, kw_only=True, forbid_unknown_fields=True):
    """`PATCH /v1/admin/voices/{id}`; what is left out stays as it is."""

    name: str | UnsetType = UNSET
    """Its new id."""


class MixBody(Details, kw_only=True, forbid_unknown_fields=True):
    """`POST /v1/admin/voices/mix`."""

    name: str
    """The id of the new voice."""
    parts: list[mixture.Share]
    """Two to eight voices."""
    store: str = ""
    """Where to keep it; empty: the first store that can be written."""


# -- out


class VoiceEntry(msgspec.Struct, kw_only=True):
    """A voice with all that is known of it."""

    id: str
    """What requests call it."""
    title: str
    """Shown to people."""
    languages: tuple[str, ...]
    """Of the recordings, as declared; empty: whatever the model speaks."""
    aliases: tuple[str, ...]
    """Other names that requests may use."""
    description: str
    licence: str
    consent: str
    """Who agreed to the voice being cloned, and how."""
    source: str
    """Where the recordings come from."""
    store: str
    """Which keeps it; empty: the model itself carries it."""
    fixed: bool
    """It can be neither changed nor removed."""
    references: tuple[str, ...]
    """Names of its recordings."""
    mix: tuple[MixPart, ...]
    """What it is mixed of; empty: all recordings are of one voice."""
    object: Literal["voice"] = "voice"


class VoiceDetails(VoiceEntry, kw_only=True):
    """A voice and how good its recordings are."""

    report: ReferenceReport | None
    """null: it has no recordings, or one that cannot be read."""
    problem: str = ""
    """Why there is no report."""


class StoreEntry(msgspec.Struct):
    """A place that keeps voices."""

    name: str
    plugin: str
    """Which offers it."""
    writable: bool
    """Whether voices can be added to it."""


class VoiceEntries(msgspec.Struct, kw_only=True):
    """`GET /v1/admin/voices`."""

    data: list[VoiceEntry]
    problems: tuple[str, ...]
    """A sentence for each voice and each store that cannot be used."""
    stores: list[StoreEntry]
    """In the order in which they are looked at."""
    object: Literal["list"] = "list"


class VoiceDeleted(msgspec.Struct):
    """`DELETE /v1/admin/voices/{id}`."""

    id: str
    deleted: bool = True
    object: Literal["voice"] = "voice"


# -- routes


def routes(limits: LimitSettings) -> list[Any]:
    """HANDLERS for an application; those that take recordings may be sent more than the others."""
    return [*OTHERS, uploads(UPLOADS, limits, limits.voice_references)]


# Threads are used within the handlers: Litestar's sync_to_thread wraps one anew for every application (web/keys.py).


@get("/v1/admin/voices", opt=described(ADMIN, answer=VoiceEntries))
async def list_all(speaker: NamedDependency[Speaker]) -> Response[bytes]:
    """The voices of all stores and of the model, and what keeps others from being used."""
    view = await asyncio.to_thread(_view, speaker)
    stores = [StoreEntry(store.name, plugin, store.writable) for plugin, store in speaker.registry.snapshot.stores]
    entries = [VoiceEntry(**_entry(voice)) for voice in view.voices]
    return answer(VoiceEntries(data=entries, problems=view.problems, stores=stores))


@get("/v1/admin/voices/{voice_id:str}", opt=described(ADMIN, answer=VoiceDetails, errors=MISSING))
async def get_one(speaker: NamedDependency[Speaker], voice_id: FromPath[str]) -> Response[bytes]:
    """One voice, by its id alone, with a report on its recordings."""
    return answer(await asyncio.to_thread(_details, speaker, voice_id))


@post(
    "/v1/admin/voices",
    opt=described(
        ADMIN, body=FormBody(texts=FORM_TEXTS, files=(SAMPLE,), needed=("name", SAMPLE)), answer=VoiceDetails
    ),
    status_code=200,
)
async def upload(
    request: Asked, speaker: NamedDependency[Speaker], audit: NamedDependency[AuditLog]
) -> Response[bytes]:
    """A new voice from recordings of it: a form with `name`, one or several files `audio_sample`, and what is told."""
    limits = speaker.settings.limits
    form = await read_form(request, FORM_TEXTS, (SAMPLE,), limits.reference_bytes)
    return await _add(request, speaker, audit, "voices.create", partial(_uploaded, form, limits), form.text("store"))


@post(
    "/v1/admin/voices/import",
    opt=described(
        ADMIN,
        body=("application/zip", FormBody(files=("file",), needed=("file",))),
        query={"name": said(str, "Its id here; empty: as in the archive."), "store": said(str, "Where to keep it.")},
        answer=VoiceDetails,
    ),
    status_code=200,
)
async def import_archive(
    request: Asked,
    speaker: NamedDependency[Speaker],
    audit: NamedDependency[AuditLog],
    name: FromQuery[str] = "",
    store: FromQuery[str] = "",
) -> Response[bytes]:
    """A voice out of a zip archive, sent as the body or as the file `file` of a form."""
    limits = speaker.settings.limits
    content = await read_archive(request, archive.largest_archive(limits))
    return await _add(request, speaker, audit, "voices.import", lambda _: archive.unpack(content, limits, name), store)


@post(
    "/v1/admin/voices/mix",
    opt=described(ADMIN, body=MixBody, answer=VoiceDetails, errors=MISSING),
    status_code=200,
)
async def mix(request: Asked, speaker: NamedDependency[Speaker], audit: NamedDependency[AuditLog]) -> Response[bytes]:
    """A new voice mixed of others by weight."""
    body = wire.decode(await request.body(), MixBody)
    fields, limits = details.checked(body), speaker.settings.limits

    def make(view: VoiceView) -> tuple[Voice, Clips]:
        return mixture.mixed(speaker.voices, view, body.name, body.parts, fields, limits)

    return await _add(request, speaker, audit, "voices.mix", make, body.store)


@patch(
    "/v1/admin/voices/{voice_id:str}",
    opt=described(ADMIN, body=ChangeBody, answer=VoiceEntry, errors=MISSING),
)
async def change(
    request: Asked, speaker: NamedDependency[Speaker], audit: NamedDependency[AuditLog], voice_id: FromPath[str]
) -> Response[bytes]:
    """Change what is told of a voice, or what it is called."""
    body = wire.decode(await request.body(), ChangeBody)
    made = await asyncio.to_thread(_change, speaker, audit, caller(request), voice_id, body)
    prepare(request, speaker, made)
    return answer(VoiceEntry(**_entry(made)))


@delete(
    "/v1/admin/voices/{voice_id:str}",
    opt=described(ADMIN, answer=VoiceDeleted, errors=MISSING),
    status_code=200,
)
async def remove(
    request: Asked, speaker: NamedDependency[Speaker], audit: NamedDependency[AuditLog], voice_id: FromPath[str]
) -> Response[bytes]:
    """Remove a voice and its recordings; what is being spoken by it goes on."""
    await asyncio.to_thread(discard, speaker, audit, caller(request), voice_id)
    return answer(VoiceDeleted(voice_id))


@get("/v1/admin/voices/{voice_id:str}/export", opt=described(ADMIN, answer="application/zip", errors=MISSING))
async def export(speaker: NamedDependency[Speaker], voice_id: FromPath[str]) -> Response[bytes]:
    """A voice as a zip archive, to be imported elsewhere or unpacked into a folder of voices."""

    def packed() -> bytes:
        voice = details.exact(_view(speaker), voice_id)
        return archive.pack(voice, speaker.voices.clips(voice))

    return _file(await asyncio.to_thread(packed), "application/zip", "attachment", f"{voice_id}.zip")


@get(
    "/v1/admin/voices/{voice_id:str}/references/{reference:str}",
    opt=described(ADMIN, answer=("audio/*", "application/octet-stream"), errors=MISSING),
)
async def read_reference(
    speaker: NamedDependency[Speaker], voice_id: FromPath[str], reference: FromPath[str]
) -> Response[bytes]:
    """A recording of a voice, as it was uploaded."""

    def content() -> bytes:
        voice = details.exact(_view(speaker), voice_id)
        if reference not in voice.references:
            there = allowed(voice.references)
            raise VoiceNotFound(
                f"{voice_id} has no recording {shown(reference)}; there are: {there}", param="reference"
            )
        return speaker.voices.clips(msgspec.structs.replace(voice, references=(reference,)))[reference]

    return _file(await asyncio.to_thread(content), media_type(reference), "inline", reference)


UPLOADS = (list_all, upload, import_archive)
OTHERS = (get_one, change, remove, export, read_reference, mix)
HANDLERS = (*UPLOADS, *OTHERS)
"""All of them, for whoever describes or checks the routes."""


# -- the work


def _uploaded(form: Form, limits: LimitSettings, view: VoiceView) -> tuple[Voice, Clips]:
    """A voice from a form. Raises BadInput naming the field."""
    voice_id = form.text("name")
    details.check_new_id(voice_id)
    told: dict[str, Any] = {field: text for field in ("title", *TEXTS) if (text := form.text(field))}
    fields = details.checked(Details(**told, aliases=form.listed("aliases")))
    fields["languages"] = details.checked_languages(form.listed("language"), "language")
    details.check_free(view, details.new_voice(voice_id, fields, ()))
    clips = named_clips(form.files.get(SAMPLE, []), limits)
    return details.new_voice(voice_id, fields, clips), clips


async def _add(
    request: Asked, speaker: Speaker, audit: AuditLog, action: str, make: Make, store: str
) -> Response[bytes]:
    """Keep a new voice and answer with the report on it; what its first request needs is worked out meanwhile."""
    made, shown_as = await looked_through(speaker, keep, speaker, audit, caller(request), action, make, store)
    prepare(request, speaker, made)
    return answer(shown_as)


def keep(
    speaker: Speaker, audit: AuditLog, actor: Actor, action: str, make: Make, store: str
) -> tuple[Voice, VoiceDetails]:
    """A new voice, and what is shown of it; what cannot be is refused before it is on record."""
    view = _view(speaker)
    speaker.voices.store(store)
    voice, clips = make(view)
    details.check_free(view, voice)
    report = _review(speaker, voice, clips)
    with audit.change(actor, action, voice.id, details.told(voice, clips, store)):
        made = speaker.voices.add(voice, clips, store)
    return made, VoiceDetails(**_entry(made), report=report)


def _change(speaker: Speaker, audit: AuditLog, actor: Actor, voice_id: str, body: ChangeBody) -> Voice:
    fields, view = details.checked(body), _view(speaker)
    new_id = voice_id if body.name is UNSET else body.name
    voice, made = details.changed(view, voice_id, fields, new_id)
    if made.id != voice.id:
        _check_not_default(speaker, view, voice)
    told = {field: value for field in ("name", *MADE_OF) if (value := getattr(body, field)) is not UNSET}
    with audit.change(actor, "voices.change", voice_id, told):
        return details.put(speaker.voices, voice, made)


def discard(speaker: Speaker, audit: AuditLog, actor: Actor, voice_id: str) -> None:
    """Remove the voice with this very id. Raises VoiceNotFound, or BadInput for one that stays."""
    view = _view(speaker)
    voice = details.exact(view, voice_id)
    details.check_changeable(voice)
    _check_not_default(speaker, view, voice)
    with audit.change(actor, "voices.delete", voice_id, {"title": voice.name, "store": voice.store}):
        speaker.voices.remove(voice_id)


def _check_not_default(speaker: Speaker, view: VoiceView, voice: Voice) -> None:
    """Raises BadInput for the voice of requests that name none: they would be refused."""
    default = speaker.settings.default_voice
    if default and any(one.id == voice.id for _, one in view.resolve(default, "")):
        raise BadInput(f"{voice.id} is the default voice (default_voice); let another one be it first", param="voice")


def _view(speaker: Speaker) -> VoiceView:
    return speaker.voices.view(speaker.fleet.serving.studio)


def _details(speaker: Speaker, voice_id: str) -> VoiceDetails:
    voice = details.exact(_view(speaker), voice_id)
    if not voice.references:
        return VoiceDetails(**_entry(voice), report=None, problem="it is the model's own, without recordings")
    try:
        return VoiceDetails(**_entry(voice), report=_review(speaker, voice, speaker.voices.clips(voice)))
    except MoreError as error:
        return VoiceDetails(**_entry(voice), report=None, problem=error.message)


def _review(speaker: Speaker, voice: Voice, clips: Mapping[str, bytes]) -> ReferenceReport:
    settings = speaker.settings
    try:
        spoken = speaker.engine.config.languages
    except MoreError:  # it loads, or has failed; recordings can be looked at all the same
        spoken = ()
    return details.review(clips, settings.limits, voice.languages, spoken, settings.default_language)


def prepare(request: Asked, speaker: Speaker, voice: Voice) -> None:
    """Begin with what the first request for a voice would wait for; nobody waits for it here."""
    # The application keeps the task: the event loop alone would let it be collected half done.
    running: set[asyncio.Task[None]] = request.app.state.setdefault("voices_in_preparation", set())
    task = asyncio.create_task(_prepared(speaker, voice))
    running.add(task)
    task.add_done_callback(running.discard)


async def _prepared(speaker: Speaker, voice: Voice) -> None:
    try:
        await speaker.prepare(voice)
    except MoreError as error:
        log.warning("a voice cannot be prepared", voice_id=voice.id, reason=error.message)
    except Exception:  # nobody else would ever hear of it
        log.exception("a voice cannot be prepared", voice_id=voice.id)


# -- shapes


def _entry(voice: Voice) -> dict[str, Any]:
    same = ("id", "languages", "aliases", *TEXTS, "store", "fixed", "references", "mix")
    return {"title": voice.name, **{field: getattr(voice, field) for field in same}}


def _file(content: bytes, content_type: str, kind: str, name: str) -> Response[bytes]:
    """A file for a browser, which must take it for nothing else, and for its administrator's eyes."""
    headers = {
        "content-disposition": disposition(name, kind),
        "x-content-type-options": "nosniff",
        "cache-control": "no-store",
    }
    return Response(content, media_type=content_type, headers=headers)
