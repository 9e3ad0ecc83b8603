"""Subtitles as players read them: FFmpeg's own readers are the judge."""

import io

import av
from hypothesis import given, settings
from hypothesis import strategies as st

from more_server.narration.subtitles import Cue, srt, vtt

CUES = (
    Cue(0.0, 1.5, "It began.\nSo it did."),
    Cue(1.5, 1.5, "Never shown."),
    Cue(2.0004, 3.0, " \n "),
    Cue(3661.0078, 36_000.5, "a --> b & <i>c</i>, x < y;\r\n\n{\\an8}up"),
)


def read(text: str) -> list[tuple[float, float, str]]:
    """Start and end in seconds, and text, of the cues that FFmpeg finds."""
    found = []
    with av.open(io.BytesIO(text.encode())) as container:
        for packet in container.demux(container.streams.subtitles[0]):
            if packet.pts is not None and packet.duration:
                start, length = (float(ticks * packet.time_base) for ticks in (packet.pts, packet.duration))
                found.append((round(start, 3), round(start + length, 3), bytes(packet).decode()))
    return found


def test_subrip():
    assert srt(CUES) == (
        "1\n00:00:00,000 --> 00:00:01,500\nIt began.\nSo it did.\n\n"
        "2\n01:01:01,008 --> 10:00:00,500\na --\u2060> b & <\u2060i>c<\u2060/i>, x < y;\n{\u2060\\an8}up\n\n"
    )


def test_webvtt():
    assert vtt(CUES) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nIt began.\nSo it did.\n\n"
        "01:01:01.008 --> 10:00:00.500\na --&gt; b &amp; &lt;i&gt;c&lt;/i&gt;, x &lt; y;\n{\\an8}up\n\n"
    )


lengths = st.integers(1, 50_000_000).map(lambda milliseconds: milliseconds / 1000)
texts = st.text(st.sampled_from("aé二1 \n\r\t<>&-{}\\/:,.\x00\x0b\u2028b"), max_size=40).map(lambda text: text + "z")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(lengths, texts), min_size=1, max_size=5))
def test_whatever_is_said_players_find_the_same_cues(said):
    cues, start = [], 0.0
    for length, text in said:
        cues.append(Cue(start, start + length, text))
        start += length
    for written in (srt(cues), vtt(cues)):
        found = read(written)
        assert [(begin, end) for begin, end, _ in found] == [(round(c.start, 3), round(c.end, 3)) for c in cues]
        assert [text.rstrip().endswith("z") for *_, text in found] == [True] * len(cues)
