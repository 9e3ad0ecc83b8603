"""Models and voices as clients list them."""

import asyncio
from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from more_server.errors import BadInput, ModelNotFound
from more_server.fleet import LoadedModel, unknown_model
from more_server.speak import Speaker
from more_server.speech import Voice
from more_server.web import wire
from more_server.web.described import described

DISCOVERY = {"scope": "discovery"}


def _json(value: Any) -> Response[bytes]:
    return Response(wire.encode(value), media_type="application/json")


def _model(model: LoadedModel, name: str, voices: list[Voice]) -> wire.Model:
    languages = model.engine.config.languages
    return wire.Model(
        id=name,
        created=model.created,
        owned_by="more-server",
        language=list(languages),
        sample_rate=model.engine.config.output_sample_rate,
        voices=[wire.ModelVoice(voice.id, (voice.languages or languages)[0]) for voice in voices],
    )


async def _voices(speaker: Speaker, model: LoadedModel) -> list[Voice]:
    """The one that speaks where a request names none comes first: programs preselect the first one that they see."""
    view = await asyncio.to_thread(speaker.voices.view, model.studio)
    try:
        shares = view.resolve(None, speaker.settings.default_voice)
    except BadInput:  # the default voice is gone, or there is none at all
        shares = ()
    default = shares[0][1].id if len(shares) == 1 else ""
    return sorted(view.voices, key=lambda voice: voice.id != default)


@get(["/v1/models", "/v1/audio/models"], opt=described(DISCOVERY, answer=wire.ModelList))
async def list_models(speaker: NamedDependency[Speaker]) -> Response[bytes]:
    """The models that are loaded: the one that serves, under its own name and OpenAI's, and those beside it."""
    speaker.check_ready()
    models = []
    for name in speaker.fleet.names():
        model = speaker.fleet.find(name)
        models.append(_model(model, name, await _voices(speaker, model)))
    return _json(wire.ModelList(models, models))


@get("/v1/models/{model_id:path}", opt=described(DISCOVERY, answer=wire.Model, errors=(ModelNotFound,)))
async def get_model(speaker: NamedDependency[Speaker], model_id: FromPath[str]) -> Response[bytes]:
    """One model; its id may hold slashes, raw or percent-encoded."""
    speaker.check_ready()
    wanted = model_id.removeprefix("/")
    if wanted not in speaker.fleet.names():
        raise unknown_model(wanted, speaker.fleet.names())
    model = speaker.fleet.find(wanted)
    return _json(_model(model, wanted, await _voices(speaker, model)))


@get(
    ["/v1/audio/voices", "/v1/audio/voices/{model_id:path}"],
    opt=described(DISCOVERY, answer=(wire.VoiceList, wire.VoiceNames)),
)
async def list_voices(
    speaker: NamedDependency[Speaker], model_id: FromPath[str] = "", legacy: FromQuery[bool] = False
) -> Response[bytes]:
    """All voices, the default first; every model speaks with all. `?legacy=true` gives bare ids, as Kokoro did."""
    speaker.check_ready()
    voices = await _voices(speaker, speaker.fleet.serving)
    if legacy:
        return _json(wire.VoiceNames([voice.id for voice in voices]))
    items = [wire.voice_item(voice, speaker.engine.config.languages) for voice in voices]
    return _json(wire.VoiceList(items, items))
