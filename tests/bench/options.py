"""What is measured, as the command line asks for it."""

from typing import Any

import msgspec


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run of the benchmark."""

    folder: str
    """Of an installed model; empty: random weights."""
    random: str
    """Sizes of the random weights, `xtts-v2` or `tiny`; empty: an installed model."""
    streams: tuple[int, ...]
    """Ascending, one among them."""
    codes: int
    """Asked of every stream."""
    tokens: int
    """Text tokens of every stream."""
    repeats: int
    """Runs with one stream."""
    coqui: bool
    http: bool
    jobs: int
    """Seconds of audio of a speech job; 0: none."""
    soak: float
    """Minutes of clients that come and go, and nothing else; 0: none."""
    json_only: bool
    engine: dict[str, Any]
    """EngineSettings."""

    def runs(self, streams: int) -> int:
        """Fewer where more streams give more figures in one run."""
        return max(2, self.repeats // streams)
