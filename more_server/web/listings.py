"""Models and voices as clients list them."""

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery

from more_server.speak import Speaker, unknown_model
from more_server.web import wire


def _json(value: Any) -> Response[bytes]:
    return Response(wire.encode(value), media_type="application/json")


def _model(speaker: Speaker, model_id: str) -> wire.Model:
    languages = speaker.engine.config.languages
    voices = [wire.ModelVoice(v.id, (v.languages or languages)[0]) for v in speaker.voices.all()]
    return wire.Model(
        id=model_id,
        created=speaker.model_created,
        owned_by="more-server",
        language=list(languages),
        sample_rate=speaker.engine.config.output_sample_rate,
        voices=voices,
    )


@get(["/v1/models", "/v1/audio/models"], sync_to_thread=False)
def list_models(speaker: NamedDependency[Speaker]) -> Response[bytes]:
    """The model that serves, under its own name and OpenAI's."""
    speaker.check_ready()
    models = [_model(speaker, model_id) for model_id in speaker.model_ids()]
    return _json(wire.ModelList(models, models))


@get("/v1/models/{model_id:path}", sync_to_thread=False)
def get_model(speaker: NamedDependency[Speaker], model_id: FromPath[str]) -> Response[bytes]:
    """One model; its id may hold slashes, raw or percent-encoded."""
    speaker.check_ready()
    wanted = model_id.removeprefix("/")
    if wanted not in speaker.model_ids():
        raise unknown_model(wanted, speaker.model_ids())
    return _json(_model(speaker, wanted))


@get(["/v1/audio/voices", "/v1/audio/voices/{model_id:path}"], sync_to_thread=False)
def list_voices(
    speaker: NamedDependency[Speaker], model_id: FromPath[str] = "", legacy: FromQuery[bool] = False
) -> Response[bytes]:
    """All voices; every model speaks with all of them. `?legacy=true` gives bare ids, as Kokoro did."""
    speaker.check_ready()
    voices = speaker.voices.all()
    if legacy:
        return _json({"voices": [voice.id for voice in voices]})
    items = [wire.voice_item(voice, speaker.engine.config.languages) for voice in voices]
    return _json(wire.VoiceList(items, items))
