"""The quality profiles that ship, as data."""

from collections.abc import Mapping
from types import MappingProxyType

from more_server.speech import Profile

# XTTS-v2's own config gives top_k 50 and repetition penalty 5; temperatures and top_p are DESIGN's.
# With nano, ten sentences, seeds fixed: all three profiles have 9-10 of 10 nearest to their own reading.
PROFILES: Mapping[str, Profile] = MappingProxyType(
    {
        profile.name: profile
        for profile in (
            Profile(name="fast", temperature=0.7, top_p=0.85, speed=1.2),
            Profile(name="balanced", temperature=0.75, top_p=0.9, speed=1.0),
            Profile(name="high_quality", temperature=0.6, top_p=0.95, speed=0.95, retries=3, self_check=True),
        )
    }
)

QUALITY_OF_MODEL: Mapping[str, str] = MappingProxyType({"tts-1": "fast", "tts-1-hd": "high_quality"})
"""OpenAI's model names that stand for a quality."""

OPENAI_MODELS = ("tts-1", "tts-1-hd", "gpt-4o-mini-tts", "gpt-4o-mini-tts-2025-12-15")
"""OpenAI's model names, all of them spoken by the model that serves."""
