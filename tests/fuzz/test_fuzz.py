"""What strangers send: it is read, or refused in the words that are foreseen, and never takes more than it should."""

import asyncio
import json
import resource
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from more_wyoming import Settings as WyomingSettings
from more_wyoming import frames

from more_server.audio.encode import FORMATS, encode_file
from more_server.audio.read import LOUDEST, read
from more_server.errors import BadInput
from more_server.narration.request import SpeechJob
from more_server.text import LANGUAGES, character_limit, normalise, split
from more_server.web import wire
from tests.audio.signals import RATE, chirp, encode
from tests.audio.test_read import CONTAINERS
from tests.narration.epubs import NAV, epub, job, nav, outcome

fuzz = settings(settings.get_profile("fuzz"))

ANYWHERE = st.floats(0, 1, exclude_max=True)
EXTREMES = st.sampled_from([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"])
MUTATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), ANYWHERE, st.binary(min_size=1, max_size=8)),
        st.tuples(st.sampled_from(["insert", "cut"]), ANYWHERE, st.binary(min_size=1, max_size=64)),
        st.tuples(st.just("repeat"), ANYWHERE, st.binary(min_size=1, max_size=400)),
        # Near the beginning, where containers keep what they claim: lengths, counts, rates.
        st.tuples(st.just("put"), st.floats(0, 0.1, exclude_max=True), EXTREMES),
    ),
    min_size=1,
    max_size=12,
)


def mutated(content: bytes, mutations: list[tuple[str, float, bytes]]) -> bytes:
    made = bytearray(content)
    for kind, place, value in mutations:
        at = int(place * len(made))
        if kind == "put":
            made[at : at + len(value)] = value
        elif kind == "insert":
            made[at:at] = value
        elif kind == "cut":
            del made[at : at + len(value)]
        else:
            made[at:at] = made[at : at + len(value)]
    return bytes(made)


AUDIO = {name: encode_file(chirp(6000), RATE, name) for name in FORMATS if name != "pcm"}
AUDIO |= {
    name: encode(chirp(8000)[None], rate, container, codec, sample_format)
    for name, (container, codec, sample_format, rate) in CONTAINERS.items()
}
BOOK = epub(
    {"a.xhtml": '<html xmlns="http://www.w3.org/1999/xhtml"><body><h1>One</h1><p>Hello <b>there</b>.</p></body></html>'}
    | {"nav.xhtml": nav('<li><a href="a.xhtml">A</a></li>')},
    extra=NAV,
)
MOST_SECONDS, MOST_KILOBYTES = 20.0, 250_000


@pytest.fixture(scope="module")
def memory() -> int:
    """Peak of the process in kB, before."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@given(name=st.sampled_from(sorted(AUDIO)), mutations=MUTATIONS)
@fuzz
def test_recordings(memory: int, name: str, mutations: list[tuple[str, float, bytes]]) -> None:
    began = time.process_time()
    try:
        audio = read(
            mutated(AUDIO[name], mutations), sample_rate=RATE, max_bytes=10**6, max_seconds=MOST_SECONDS, max_channels=8
        )
    except BadInput:
        pass
    else:
        assert 0 < audio.seconds <= MOST_SECONDS + 0.1
        assert np.abs(audio.samples).max() <= 2 * LOUDEST  # a filter rings
    assert time.process_time() - began < 30
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MOST_KILOBYTES


@given(text=st.text(max_size=300), language=st.sampled_from(LANGUAGES))
@fuzz
def test_texts(text: str, language: str) -> None:
    said = normalise(text, language)
    # The longest that one character becomes is a number's word: 99999 in some languages has 60 letters.
    assert len(said) <= 100 * (len(text) + 1)
    pieces = split(said, language, count_tokens=len, max_tokens=80)
    assert all(len(piece) <= character_limit(language) for piece in pieces)
    assert sum(map(len, pieces)) <= 2 * len(said) + 10


@given(mutations=MUTATIONS)
@fuzz
@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_books(mutations: list[tuple[str, float, bytes]]) -> None:
    found = outcome(job(mutated(BOOK, mutations), document_format="epub"))
    assert found.param == "document" if isinstance(found, BadInput) else found.chapters


@given(st.text(max_size=400))
@fuzz
def test_markdown(text: str) -> None:
    found = outcome(SpeechJob(input=text, document_format="markdown"))
    assert isinstance(found, BadInput) or sum(len(one) for c in found.chapters for one in c.paragraphs) <= 4 * len(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
BODY = {"input": "Hello.", "voice": "linden", "response_format": "wav", "speed": 1.0, "seed": 5}


@given(
    st.one_of(
        st.binary(max_size=200),
        st.dictionaries(st.sampled_from(wire.SpeechBody.__struct_fields__), JSON, max_size=6).map(
            lambda body: json.dumps(BODY | body).encode()
        ),
        MUTATIONS.map(lambda mutations: mutated(json.dumps(BODY).encode(), mutations)),
    )
)
@fuzz
def test_bodies(content: bytes) -> None:
    with suppress(BadInput):
        assert isinstance(wire.decode(content, wire.SpeechBody).input, str)


LIMITS = WyomingSettings(header_bytes=1024, data_bytes=1024, payload_bytes=1024, message_seconds=5)
LENGTHS = st.one_of(st.none(), st.integers(-2, 40), st.integers(1000, 2**70))


@st.composite
def wyoming(draw: st.DrawFn) -> bytes:
    """Nearly a message."""
    kind = {"type": draw(st.one_of(st.just("synthesize"), JSON))}
    lengths = {name: draw(LENGTHS) for name in ("data_length", "payload_length")}
    head = kind | lengths | draw(st.dictionaries(st.sampled_from(["data", "version"]), JSON, max_size=2))
    line = json.dumps(head).encode() + b"\n" + draw(st.binary(max_size=60))
    return mutated(line, draw(MUTATIONS)) if draw(st.booleans()) else line


@given(st.one_of(st.binary(max_size=2000), wyoming(), st.lists(wyoming(), max_size=3).map(b"".join)))
@fuzz
def test_wyoming_messages(content: bytes) -> None:
    async def all_read() -> None:
        reader = asyncio.StreamReader(limit=LIMITS.header_bytes)
        reader.feed_data(content)
        reader.feed_eof()
        left = len(content)
        try:
            while event := await frames.read(reader, LIMITS):
                assert isinstance(event.type, str)
                assert len(event.payload or b"") <= LIMITS.payload_bytes
                left -= 1  # each takes a byte at least, so this ends
                assert left >= 0
        except (frames.BadFrame, asyncio.IncompleteReadError):
            pass  # what the connection foresees (more_wyoming/connection.py)

    asyncio.run(all_read())
