"""Text that arrives in pieces, with a speaker that only says what it was asked."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from more_server.errors import BadInput, Unavailable, VoiceNotFound
from more_server.report import Reports
from more_server.settings import Settings
from more_server.speech import Audio, Profile, SpeechRequest, Utterance, Voice, VoiceLatents
from more_server.tables import LimitSettings
from more_server.talk import BEFORE_CHARACTERS, Talk
from more_server.text import TextStream

SENTENCES = ("The weather is so nice today.", "We are going for a walk in the park.", "And then we will all go home.")
TEXT = " ".join(SENTENCES)
EMPTY = np.zeros(0, np.float32)


class Echo:
    """Speaks a sample for each utterance and keeps what it was asked."""

    def __init__(self, **limits: int) -> None:
        self.settings = Settings(limits=LimitSettings(**limits))
        self.asked: list[SpeechRequest] = []
        self.left = 0
        self.rate = 24_000
        self.while_splitting: Callable[[], None] = lambda: None
        self.while_speaking: Callable[[], None] = lambda: None

    async def splitter(self, request: SpeechRequest) -> TextStream:
        await asyncio.sleep(0)
        self.while_splitting()
        if request.voice == "nobody":
            raise VoiceNotFound("there is no voice", param="voice")
        return TextStream("en")

    async def resolve(self, request: SpeechRequest, request_id: str) -> Utterance:
        self.asked.append(request)
        return Utterance(
            id=request_id,
            segments=(),
            voice=Voice(id="ann", name="Ann"),
            latents=VoiceLatents(EMPTY, EMPTY),
            language="en",
            profile=Profile(name="fast", temperature=1, top_p=1),
            speed=1,
            seed=0,
            sample_rate=self.rate,
        )

    async def speak(self, utterance: Utterance) -> AsyncGenerator[Audio, None]:
        try:
            self.while_speaking()
            await asyncio.sleep(0)
            yield Audio(np.ones(1, np.float32), utterance.sample_rate)
        finally:
            self.left += 1

    @property
    def texts(self) -> list[str]:
        return [request.text for request in self.asked]


def talk_of(echo: Echo, **asked: str) -> Talk:
    return Talk(echo, SpeechRequest(text="not looked at", **asked), "talk", Reports())


async def heard(talk: Talk) -> int:
    return len([audio async for audio in talk.speak()])


async def fed(talk: Talk, pieces: list[str]) -> None:
    """As a language model writes: somebody listens in between."""
    for piece in pieces:
        talk.add(piece)
        await asyncio.sleep(0.001)
    talk.end()


def cut(text: str, at: set[int]) -> list[str]:
    places = [0, *sorted(place for place in at if place < len(text)), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(places)]


@given(st.sets(st.integers(0, len(TEXT)), max_size=12))
def test_all_of_it_is_spoken_in_order_however_it_is_cut(at: set[int]) -> None:
    echo = Echo()

    async def run() -> None:
        talk = talk_of(echo)
        await asyncio.gather(heard(talk), fed(talk, cut(TEXT, at)))
        assert talk.characters == len(TEXT)
        assert talk.text.split()[-1] == "home."

    asyncio.run(run())
    assert " ".join(echo.texts).split() == TEXT.split()
    assert echo.left == len(echo.asked)


async def test_a_text_that_is_there_is_spoken_as_a_whole() -> None:
    echo = Echo()
    talk = talk_of(echo)
    talk.add("# Heading\n\n")
    talk.add(TEXT)
    talk.end()
    assert await heard(talk) == 1
    (asked,) = echo.asked
    assert (asked.text, asked.before, asked.continues) == (f"# Heading\n\n{TEXT}", "", False)


async def test_sentences_that_wait_are_spoken_together_and_told_from_the_last() -> None:
    echo = Echo()
    talk = talk_of(echo)
    talk.add(f"{SENTENCES[0]} {SENTENCES[1][:5]}")

    def more() -> None:
        echo.while_speaking = lambda: None
        talk.add(f"{SENTENCES[1][5:]} {SENTENCES[2]}")
        talk.end()

    echo.while_speaking = more
    assert await heard(talk) == 2
    first, second = echo.asked
    assert (first.text, first.continues) == (SENTENCES[0], True)
    assert (second.text, second.continues) == ("\n".join(SENTENCES[1:]), False)
    assert second.before == SENTENCES[0]


async def test_what_was_said_before_is_not_all_kept() -> None:
    echo = Echo()
    talk = talk_of(echo)
    await asyncio.gather(heard(talk), fed(talk, [f"{SENTENCES[1]} "] * 20))
    assert max(len(request.before) for request in echo.asked) == BEFORE_CHARACTERS


async def test_text_that_comes_while_the_splitter_is_made_is_not_lost() -> None:
    echo = Echo(text_characters=len(TEXT))
    talk = talk_of(echo)
    talk.add(SENTENCES[0])

    def rest() -> None:
        talk.add(TEXT[len(SENTENCES[0]) :])
        talk.end()

    echo.while_splitting = rest
    assert await heard(talk) >= 1
    assert " ".join(echo.texts).split() == TEXT.split()


@pytest.mark.parametrize("while_splitting", [False, True])
async def test_too_much_text_is_told(while_splitting: bool) -> None:
    echo = Echo(text_characters=len(TEXT))
    talk = talk_of(echo)

    def too_much() -> None:
        talk.add(TEXT)
        talk.add(" ")
        talk.end()

    if while_splitting:
        echo.while_splitting = too_much
    else:
        too_much()
    with pytest.raises(BadInput, match=f"more than {len(TEXT)} characters"):
        await heard(talk)
    assert not echo.asked


@pytest.mark.parametrize("text", ["", " \n", "…!?", "👍 👍"])
async def test_nothing_to_speak_is_told(text: str) -> None:
    echo = Echo()
    for listening in (True, False):
        talk = talk_of(echo)
        waiting = asyncio.ensure_future(heard(talk))
        if listening:
            await asyncio.sleep(0.01)
        talk.add(text)
        talk.end()
        with pytest.raises(BadInput, match="no letter and no digit"):
            await waiting
    assert not echo.asked


async def test_marks_between_sentences_are_passed_over() -> None:
    echo = Echo()
    talk = talk_of(echo)
    await asyncio.gather(heard(talk), fed(talk, [f"{SENTENCES[0]} ", "—\n\n", "🎉\n\n", f"{SENTENCES[1]} "]))
    assert all(any(character.isalnum() for character in text) for text in echo.texts)
    assert " ".join(echo.texts).count("park") == 1


async def test_a_mistake_is_told_before_there_is_any_text() -> None:
    talk = talk_of(Echo(), voice="nobody")
    with pytest.raises(VoiceNotFound):
        await heard(talk)


async def test_another_sample_rate_ends_it() -> None:
    echo = Echo()
    talk = talk_of(echo)

    def change() -> None:
        echo.rate = 48_000

    echo.while_speaking = change
    with pytest.raises(Unavailable, match="another sample rate"):
        await asyncio.gather(heard(talk), fed(talk, [f"{sentence} " for sentence in SENTENCES]))


async def test_who_leaves_stops_the_speaking() -> None:
    echo = Echo()
    talk = talk_of(echo)
    talk.add(TEXT)
    async with aclosing(talk.speak()) as chunks:
        await anext(chunks)
    assert echo.left == 1
