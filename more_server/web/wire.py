"""Every JSON shape that crosses the wire, and how a body is read."""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeVar

import msgspec

from more_server.errors import BadInput, MoreError, allowed
from more_server.fields import parted
from more_server.speech import SpeechRequest, Voice

Body = TypeVar("Body")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
SURROGATES = re.compile(
    rb"\\(?:(?P<pair>u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""Escapes in a JSON string: of UTF-16's pairs, of halves of them, and others, which may be an escaped backslash."""

# -- in


class VoiceReference(msgspec.Struct):
    """OpenAI's object form of `voice`."""

    id: str


class SpeechOptions(msgspec.Struct, kw_only=True):
    """How a text is to be spoken."""

    model: str | None = None
    """The model that serves, or one of OpenAI's names; `tts-1` means fast, `tts-1-hd` high_quality."""
    voice: str | VoiceReference | None = None
    """A voice's id, alias or name, OpenAI's {"id": …}, or a mixture: `a+b`, `a(2)+b(1)`; absent: the default voice."""
    response_format: str | None = None
    """mp3 (default), opus, aac, flac, wav or pcm (24 kHz, 16 bit, mono)."""
    speed: float | None = None
    """0.25 to 4; 1 is the profile's own tempo."""
    quality: str | None = None
    """A quality profile: fast, balanced, high_quality, or one that was added."""
    language: str | None = None
    """BCP-47 tag or name; absent or `auto`: the voice's own, else the one that is recognised, else the default."""
    seed: int | None = None
    """0 to 2^63-1; the same seed makes the same audio. The one used comes back in `x-seed`."""
    instructions: Any = None
    """Accepted and not followed: XTTS takes no instructions. The voice's reference sets the manner."""


class SpeechBody(SpeechOptions, kw_only=True):
    """`POST /v1/audio/speech`; keys that are not here are ignored, as clients send many of their own."""

    input: str
    """The text to speak."""
    stream_format: str | None = None
    """audio (default): the bytes themselves; sse: events with base64 pieces and a usage count."""
    stream: Any = None
    """false: nothing is sent before all of it is made; the answer has its length, and its loudness is exact."""


# -- in, over the WebSocket; the names are those that vllm-omni gave to the same path


class SessionConfig(SpeechOptions, kw_only=True, tag="session.config", tag_field="type"):
    """How what follows is to be spoken, in place of what was said before; without `response_format`, as pcm."""


class InputText(msgspec.Struct, tag="input.text", tag_field="type"):
    """More text, cut anywhere."""

    text: str


class InputDone(msgspec.Struct, tag="input.done", tag_field="type"):
    """The text is complete; the next one may follow at once."""


class InputCancel(msgspec.Struct, tag="input.cancel", tag_field="type"):
    """Be silent: nothing more of any text that was sent is spoken."""


class SessionClose(msgspec.Struct, tag="session.close", tag_field="type"):
    """Speak what was sent, then close the connection."""


StreamMessage = SessionConfig | InputText | InputDone | InputCancel | SessionClose


# -- out


class ErrorDetail(msgspec.Struct):
    """OpenAI's error object."""

    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(msgspec.Struct):
    """Body of every failed request."""

    error: ErrorDetail


class ModelVoice(msgspec.Struct):
    """A voice inside a model object, as speaches lists it."""

    name: str
    language: str


class Model(msgspec.Struct):
    """OpenAI's model object with what speech clients look for besides."""

    id: str
    created: int
    """Unix seconds."""
    owned_by: str
    language: list[str]
    sample_rate: int
    """Hertz."""
    voices: list[ModelVoice]
    task: str = "text-to-speech"
    object: Literal["model"] = "model"


class ModelList(msgspec.Struct):
    """`GET /v1/models` (`data`) and `GET /v1/audio/models` (`models`, Open WebUI)."""

    data: list[Model]
    models: list[Model]
    object: Literal["list"] = "list"


class VoiceItem(msgspec.Struct):
    """A voice under every key that listings look for."""

    id: str
    name: str
    value: str
    label: str
    language: str
    languages: list[str]
    description: str


class VoiceList(msgspec.Struct):
    """`GET /v1/audio/voices`: one body that Open WebUI, SillyTavern and mlx-audio clients all read."""

    voices: list[VoiceItem]
    data: list[VoiceItem]
    object: Literal["list"] = "list"


class VoiceNames(msgspec.Struct):
    """`GET /v1/audio/voices?legacy=true`."""

    voices: list[str]
    """Ids."""


class SpeechDelta(msgspec.Struct, tag="speech.audio.delta", tag_field="type"):
    """A piece of audio in an event stream."""

    audio: str
    """Base64 of the encoded bytes."""


class Usage(msgspec.Struct):
    """Tokens of a request; strict clients want all three."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class SpeechDone(msgspec.Struct, tag="speech.audio.done", tag_field="type"):
    """The end of an event stream."""

    usage: Usage


class AudioStart(msgspec.Struct, tag="audio.start", tag_field="type"):
    """Binary frames follow, which make up one file, or one run of samples, up to `audio.done`."""

    utterance_index: int
    format: str
    sample_rate: int
    """Hertz that it was spoken at; Opus plays it at 48,000."""
    content_type: str
    sentence_index: int = 0
    """Always 0: all sentences of a text are one run of audio."""


class AudioText(msgspec.Struct, tag="audio.text", tag_field="type"):
    """What the audio from here on says."""

    utterance_index: int
    sentence_index: int
    sentence_text: str
    """A sentence, or several where they had to wait."""
    start_seconds: float
    """Of audio before it."""


class AudioDone(msgspec.Struct, tag="audio.done", tag_field="type"):
    """The last binary frame of a text has been sent."""

    utterance_index: int
    total_bytes: int
    error: bool
    """It was broken off by a failure, which was told before."""
    cancelled: bool
    sentence_index: int = 0


class SessionDone(msgspec.Struct, tag="session.done", tag_field="type"):
    """A text is done with; one such event answers each `input.done`, in order."""

    utterance_index: int
    total_sentences: int
    """As many as `audio.text` told."""


class StreamError(msgspec.Struct, tag="error", tag_field="type"):
    """What went wrong; the connection stays."""

    message: str
    error: ErrorDetail


class Readiness(msgspec.Struct):
    """`GET /health/ready`."""

    ready: bool
    model: str
    reason: str


def error_body(error: MoreError) -> ErrorBody:
    """The body for an error of the tree."""
    return ErrorBody(ErrorDetail(error.message, error.kind, error.param, error.code))


def stream_error(error: MoreError) -> StreamError:
    """The event for an error of the tree."""
    return StreamError(error.message, error_body(error).error)


def speech_request(options: SpeechOptions, text: str = "", **more: Any) -> SpeechRequest:
    """What a client asks for; more: what only this front door knows."""
    return SpeechRequest(
        text=text,
        voice=options.voice.id if isinstance(options.voice, VoiceReference) else options.voice,
        model=options.model,
        quality=options.quality,
        language=options.language,
        speed=1.0 if options.speed is None else options.speed,
        seed=options.seed,
        **more,
    )


def voice_item(voice: Voice, languages: tuple[str, ...]) -> VoiceItem:
    """A voice as listed; one without languages of its own speaks the model's."""
    spoken = list(voice.languages or languages)
    return VoiceItem(voice.id, voice.name, voice.id, voice.name, spoken[0], spoken, voice.description)


def decode(body: bytes, kind: type[Body]) -> Body:
    """Read a JSON body. Raises BadInput naming the field and what is expected there."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    try:
        body.decode()
        return msgspec.json.decode(SURROGATES.sub(_paired, body), type=kind, strict=False)
    except msgspec.ValidationError as error:
        message, param = _explain(str(error), getattr(kind, "__struct_encode_fields__", ()))
        raise BadInput(message + _choices(message, param, kind), param=param) from error
    except msgspec.DecodeError as error:
        raise BadInput(f"the body is not valid JSON: {error}") from error
    except RecursionError as error:
        raise BadInput("the body is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"the body is not valid UTF-8 at byte {error.start}") from error


def _paired(match: re.Match[bytes]) -> bytes:
    """Half a character that was cut in two becomes U+FFFD; JSON lets it stand, and JavaScript sends it."""
    return match[0] if match["pair"] or not match["half"] else b"\\ufffd"


def _explain(message: str, fields: Iterable[str]) -> tuple[str, str | None]:
    """Msgspec's message as a sentence about a field: `Expected …, got … - at `$.field``. fields: of the body itself."""
    what, field = parted(message)
    if "missing required field" in what:
        field = f"{field}.{what.split('`')[1]}".lstrip(".")
        return f"{field} is required", field.partition(".")[0]
    if "contains unknown field" in what:
        unknown = f"{field}.{what.split('`')[1]}".lstrip(".")
        there_are = f"; there are: {allowed(fields)}" if fields and not field else ""
        return f"there is no field {unknown}{there_are}", unknown.partition(".")[0].partition("[")[0]
    if not field:
        return f"the body must be a JSON object: {what[0].lower()}{what[1:]}", None
    return f"{field}: {what[0].lower()}{what[1:]}", field.partition(".")[0].partition("[")[0]


def _choices(message: str, param: str | None, kind: Any) -> str:
    """What a field of the body may be, where it is one of several words; msgspec does not say which."""
    shape = msgspec.inspect.type_info(kind)
    if "invalid enum value" not in message or not isinstance(shape, msgspec.inspect.StructType):
        return ""
    fields = [field.type for field in shape.fields if field.encode_name == param]
    words = {word for field in fields for word in _words(field)}
    return f"; allowed are {allowed(words)}" if words else ""


def _words(shape: msgspec.inspect.Type) -> Iterator[str]:
    """The words of a choice, also of one in a list or beside null."""
    if isinstance(shape, msgspec.inspect.LiteralType):
        yield from map(str, shape.values)
    elif isinstance(shape, msgspec.inspect.UnionType):
        for one in shape.types:
            yield from _words(one)
    elif isinstance(shape, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
        yield from _words(shape.item_type)


def encode(value: Any) -> bytes:
    """JSON of a shape."""
    return msgspec.json.encode(value)
