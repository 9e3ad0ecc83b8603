"""Bounds on what the model may say for a text."""

from more_server.speech import Segment

CODES_FLOOR = 30
"""1.4 s: the shortest texts may still be spoken slowly."""
CODES_PER_TOKEN = 6.0
"""An XTTS-v2 token spans 2 to 4 characters, of 1.2 to 1.8 codes each at 12 to 18 characters a second: about 4.5
codes on average. What a text needs more than this bound and the floor together would be spoken very slowly."""
CODES_PER_CHARACTER = 3.0
"""For the 1.2 to 1.8 above; the tighter of both bounds counts. nano, 168 sentences in all profiles: none came
nearer to its limit than 59 %."""


def code_limit(segment: Segment, model_limit: int) -> int:
    """Most codes that a segment may take, a ceiling against babble after a missed stop code."""
    by_tokens = CODES_PER_TOKEN * len(segment.token_ids)
    by_characters = CODES_PER_CHARACTER * len(segment.text)
    # Scripts that romanise to more letters than characters (one Han character, three letters) are
    # bounded by tokens; character-level vocabularies by characters.
    longest = min(by_tokens, by_characters) if segment.text.isascii() else by_tokens
    return min(model_limit, CODES_FLOOR + round(longest))
