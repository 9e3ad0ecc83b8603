"""MORE: a speech server worth living in. These names are what plugins may import."""

from more_server import errors, files, leaving, voice_toml
from more_server.hookspecs import Context, Listing, Server, Service, VoiceStore, hookimpl
from more_server.speech import (
    Audio,
    MixPart,
    PostProcessor,
    PostProcessorKind,
    Profile,
    Samples,
    Segment,
    SpeechRequest,
    Stage,
    Utterance,
    Voice,
    VoiceLatents,
    check_reference_name,
    check_voice_id,
)

__all__ = (
    "Audio",
    "Context",
    "Listing",
    "MixPart",
    "PostProcessor",
    "PostProcessorKind",
    "Profile",
    "Samples",
    "Segment",
    "Server",
    "Service",
    "SpeechRequest",
    "Stage",
    "Utterance",
    "Voice",
    "VoiceLatents",
    "VoiceStore",
    "check_reference_name",
    "check_voice_id",
    "errors",
    "files",
    "hookimpl",
    "leaving",
    "voice_toml",
)
