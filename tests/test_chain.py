"""The chain of post-processors: nothing lost, the ends of segments in their places, strangers' faults named."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from more_server.chain import Chain, Piece
from more_server.errors import PluginFailure
from more_server.speech import EMPTY, PostProcessing, PostProcessor, PostProcessorKind, Samples, Stage, Utterance

RATE = 24_000


class Late(PostProcessor):
    """Gives everything some samples late."""

    def __init__(self, delay: int) -> None:
        self._held = EMPTY
        self._delay = delay

    def process(self, samples: Samples) -> Samples:
        self._held = np.concatenate([self._held, samples])
        ready = max(0, len(self._held) - self._delay)
        out, self._held = self._held[:ready], self._held[ready:]
        return out

    def finish(self) -> Samples:
        return self._held


class Pausing(PostProcessor):
    """Puts samples of its own behind each segment."""

    changes_length = True

    def __init__(self, length: int) -> None:
        self._pause = np.full(length, -1, np.float32)

    def process(self, samples: Samples) -> Samples:
        return samples

    def end_segment(self) -> Samples:
        return self._pause


def link(name: str, make: Callable[[Stage], PostProcessor]) -> PostProcessing:
    return PostProcessing(name, name, PostProcessorKind(make))


def run(chain: Chain, pieces: list[Piece]) -> list[Piece]:
    out = chain.begin()
    for samples, ends in pieces:
        out += chain.process(samples, ends)
    return out + chain.finish()


def segments(pieces: list[Piece]) -> list[list[float]]:
    """Samples between the ends; what lies behind the last one is a segment, too."""
    found: list[list[float]] = [[]]
    for samples, ends in pieces:
        found[-1] += samples.tolist()
        if ends:
            found.append([])
    return found if found[-1] else found[:-1]


cut = st.lists(st.tuples(st.integers(0, 40), st.booleans()), min_size=1, max_size=12)


@given(cut=cut, delays=st.lists(st.integers(0, 90), max_size=3), pause=st.integers(0, 5))
def test_segments_end_where_they_ended_however_late_the_samples_come(
    utterance: Callable[..., Utterance], cut: list[tuple[int, bool]], delays: list[int], pause: int
) -> None:
    cut = [*cut[:-1], (cut[-1][0], True)]
    given_, start = [], 0
    for length, ends in cut:
        given_.append((np.arange(start, start + length, dtype=np.float32) / 1024, ends))
        start += length
    links = [link(f"late{number}", lambda stage, delay=delay: Late(delay)) for number, delay in enumerate(delays)]
    asked = _with(utterance("hello"), [*links, link("pausing", lambda stage: Pausing(pause))])
    expected = [segment + [-1.0] * pause for segment in segments(given_)]
    assert segments(run(Chain(asked, RATE), given_)) == expected


def _with(utterance: Utterance, links: list[PostProcessing], speed: float = 1.0) -> Utterance:
    import msgspec

    return msgspec.structs.replace(utterance, post_processors=tuple(links), speed=speed)


def test_the_tempo_comes_first_and_keeps_the_ends(utterance: Callable[..., Utterance]) -> None:
    tone = np.sin(np.arange(12_000, dtype=np.float32) / 20)
    chain = Chain(_with(utterance("a", "b"), [link("late", lambda stage: Late(500))], speed=1.5), RATE)
    made = segments(run(chain, [(tone[:5000], False), (tone[5000:9000], True), (tone[9000:], True)]))
    assert [len(segment) for segment in made] == [6000, 2000]


def test_without_anything_to_do_samples_pass_untouched(utterance: Callable[..., Utterance]) -> None:
    samples = np.ones(10, np.float32)
    chain = Chain(utterance("a"), RATE)
    assert chain.begin() == []
    ((out, ends),) = chain.process(samples, True)
    assert out is samples
    assert ends
    assert chain.finish() == []


def test_what_is_no_audio_reaches_nobody(utterance: Callable[..., Utterance]) -> None:
    heard: list[Samples] = []

    class Loud(Pausing):
        def process(self, samples: Samples) -> Samples:
            heard.append(samples)
            return np.array([np.nan, np.inf, -np.inf, 1e30], np.float32)

    chain = Chain(_with(utterance("a"), [link("one", lambda s: Loud(0)), link("two", lambda s: Loud(0))]), RATE)
    given_ = np.array([0.5, np.nan, np.inf], np.float32)
    run(chain, [(given_, True)])
    assert [one.tolist() for one in heard] == [[0.5, 0.0, 16.0], [0.0, 16.0, -16.0, 16.0]]
    assert np.isnan(given_[1])


class Broken(PostProcessor):
    def __init__(self, out: object) -> None:
        self._out = out

    def process(self, samples: Samples) -> Samples:
        if isinstance(self._out, Exception):
            raise self._out
        return self._out  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda stage: 1 / 0, "ZeroDivisionError"),
        (lambda stage: "processor", "a str, which is no PostProcessor"),
        (lambda stage: Broken(ValueError("too loud")), "ValueError: too loud"),
        (lambda stage: Broken(None), "no float32 samples of shape .* but NoneType"),
        (lambda stage: Broken(np.zeros(4)), r"but float64, shape \(4,\)"),
        (lambda stage: Broken(np.zeros((1, 4), np.float32)), r"but float32, shape \(1, 4\)"),
        (lambda stage: Broken(EMPTY), "it was given 4 samples and gave 0"),
        (lambda stage: Broken(np.zeros(9, np.float32)), "it was given 4 samples and gave 9"),
    ],
)
def test_a_stranger_s_fault_is_named(utterance: Callable[..., Utterance], make: object, says: str) -> None:
    chain = Chain(_with(utterance("a"), [link("stranger", make)]), RATE)  # type: ignore[arg-type]
    with pytest.raises(PluginFailure, match=f"the plugin stranger failed: .*{says}") as failed:
        run(chain, [(np.ones(4, np.float32), True)])
    assert failed.value.plugin == "stranger"
