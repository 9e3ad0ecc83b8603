"""What Wyoming's events say, for the tests of all that speaks it."""

from wyoming.audio import AudioChunk, AudioStart
from wyoming.event import Event


def kinds(events: list[Event]) -> list[str]:
    """Types in order, several audio-chunks as one."""
    found = [event.type for event in events]
    return [one for at, one in enumerate(found) if one != "audio-chunk" or found[at - 1] != one]


def seconds(events: list[Event]) -> float:
    """Of the audio, which is not silent and all in one format."""
    chunks = [AudioChunk.from_event(event) for event in events if event.type == "audio-chunk"]
    starts = [AudioStart.from_event(event) for event in events if event.type == "audio-start"]
    assert {(one.rate, one.width, one.channels) for one in [*starts, *chunks]} == {(24_000, 2, 1)}
    assert len(set(b"".join(chunk.audio for chunk in chunks))) > 50
    return sum(chunk.seconds for chunk in chunks)
