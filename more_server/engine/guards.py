"""Bounds on what the model may say for a text."""

from more_server.speech import Segment

CODES_FLOOR = 30
"""1.4 s: the shortest texts may still be spoken slowly."""
CODES_PER_TOKEN = 6.0
"""XTTS-v2's BPE tokens span 2-4 characters, each of 1.2-1.8 codes at usual speech rates (12-18
characters a second, 21.5 codes a second); a run-on beyond twice that is babble."""
CODES_PER_CHARACTER = 3.0
"""Twice the slowest usual rate; the tighter of both bounds counts."""


def code_limit(segment: Segment, model_limit: int) -> int:
    """Most codes that a segment may take, a ceiling against babble after a missed stop code."""
    by_tokens = CODES_PER_TOKEN * len(segment.token_ids)
    by_characters = CODES_PER_CHARACTER * len(segment.text)
    # Scripts that romanise to more letters than characters (one Han character, three letters) are
    # bounded by tokens; character-level vocabularies by characters.
    longest = min(by_tokens, by_characters) if segment.text.isascii() else by_tokens
    return min(model_limit, CODES_FLOOR + round(longest))
