"""MORE: a speech server worth living in. These names are what plugins may import."""

from more_server import errors
from more_server.speech import (
    Audio,
    Profile,
    Segment,
    SpeechRequest,
    Utterance,
    Voice,
    VoiceLatents,
)

__all__ = ("Audio", "Profile", "Segment", "SpeechRequest", "Utterance", "Voice", "VoiceLatents", "errors")
