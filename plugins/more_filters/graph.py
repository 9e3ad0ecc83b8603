"""FFmpeg's filter graphs as this plugin needs them: one line of filters, mono float audio in and out."""

import re
from fractions import Fraction

import av
import av.filter
import numpy as np

from more_server import Samples
from more_server.errors import BadInput, shown

TONE = (
    "allpass anequalizer asubboost asubcut bandpass bandreject bass equalizer highpass highshelf lowpass "
    "lowshelf superequalizer tiltshelf treble"
)
LEVEL = "acompressor acontrast adynamicequalizer agate alimiter asoftclip compand deesser dynaudnorm speechnorm volume"
REPAIR = "adeclick adeclip aexciter afftdn afwtdn anlmdn crystalizer"
FILTERS = tuple(sorted(f"{TONE} {LEVEL} {REPAIR}".split()))
"""What a chain may consist of: none of these reads or writes a file, opens a device, or changes the number of
samples. firequalizer can write a file, arnndn and afir read some, loudnorm changes the rate."""
CHARACTERS = re.compile(r"[A-Za-z0-9_.+|/ :=,-]*")
"""No brackets, quotes or backslashes: one line of filters needs none, and FFmpeg would take `while(1,1)` for a number
and never come back."""
FRAME_SECONDS = 0.02
"""Some filters round differently in frames of another size (equalizer: 333 and 480 samples), so they only ever see
frames of this one. Frames of 10 ms cost the equaliser 2.3 ms per second of audio instead of 1.3."""


def parse(where: str, text: str) -> list[tuple[str, str]]:
    """Filters in order, each its name and its options. Raises BadInput that begins with `where`."""
    if not CHARACTERS.fullmatch(text):
        raise BadInput(
            f"{where}: {shown(text)} is not one line of filters such as highpass=f=90,treble=g=3; "
            "quotes, brackets, ';' and '\\' have no place in it",
            param=f"settings.{where}",
        )
    filters = [part.strip().partition("=")[::2] for part in text.split(",")]
    for name, _ in filters:
        if name not in FILTERS:
            raise BadInput(
                f"{where}: {shown(name)} is no filter that a chain may have; there are: {', '.join(FILTERS)}",
                param=f"settings.{where}",
            )
    return filters


class Line:
    """A graph that is fed in frames of one size."""

    def __init__(self, where: str, filters: list[tuple[str, str]], sample_rate: int) -> None:
        """Raises BadInput that begins with `where` and names the filter that FFmpeg does not take."""
        self.frame = round(FRAME_SECONDS * sample_rate)
        self.pushed = 0
        """Samples that the filters were given."""
        self._rate = sample_rate
        self._graph = av.filter.Graph()
        # FFmpeg starts a thread per core for every graph, for filters that work on several channels at once.
        self._graph.threads = 1
        node = self._graph.add_abuffer(
            sample_rate=sample_rate, format="flt", layout="mono", time_base=Fraction(1, sample_rate)
        )
        made = ""
        try:
            for name, options in [*filters, ("aformat", "sample_fmts=flt"), ("abuffersink", "")]:
                made = f"{name}={options}" if options else name
                following = self._graph.add(name, options or None)
                node.link_to(following)
                node = following
            made = "this as a whole"
            self._graph.configure()
        except av.FFmpegError as error:
            raise BadInput(
                f"{where}: FFmpeg does not take {made}: {error.strerror}", param=f"settings.{where}"
            ) from error

    def push(self, samples: Samples) -> None:
        """Give it samples, shape (frame,)."""
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[np.newaxis]), format="flt", layout="mono")
        frame.sample_rate = self._rate
        self._graph.push(frame)
        self.pushed += len(samples)

    def end(self) -> None:
        """Nothing more will be pushed; some filters give their rest only now, and some lose it."""
        self._graph.push(None)

    def pulled(self) -> list[av.AudioFrame]:
        """What is ready."""
        frames: list[av.AudioFrame] = []
        while True:
            try:
                frame = self._graph.pull()
            except (av.BlockingIOError, av.EOFError):
                return frames
            assert isinstance(frame, av.AudioFrame)
            frames.append(frame)


def samples_of(frames: list[av.AudioFrame]) -> Samples:
    """Shape (n,)."""
    return np.concatenate([np.zeros(0, np.float32), *(frame.to_ndarray()[0] for frame in frames)])
