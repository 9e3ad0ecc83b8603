"""Loss curves of a run that grow while it goes on: curves.csv for programs, curves.svg for people."""

import csv
import io
import time
from pathlib import Path

from more_server.errors import StorageError
from more_server.files import write_file
from more_train.evaluate.plots import Points, curves
from more_train.run import Progress, read_progress

TABLE, PICTURE = "curves.csv", "curves.svg"
WRITE_SECONDS = 15.0
"""Between two writings, beside those after evaluations."""
DRAWN, TOLD = 400, 60
"""Points of a curve in the picture, and for whoever follows the progress: each the mean of its stretch."""
COLUMNS = ("step", "epoch", "loss", "text_loss", "code_loss", "held_out", "learning_rate", "seconds")
STYLE = """
svg { --text: #1d2430; --faint: #667085; --line: #d9dee7; --first: #2563a8; --second: #c4681a; background: #fff;
  font: 11px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
@media (prefers-color-scheme: dark) { svg { --text: #e4e8ef; --faint: #9aa4b5; --line: #343c4a; --first: #6ea8e8;
  --second: #f0a35e; background: #14181f; } }
text { fill: var(--faint); } .name { fill: var(--text); } .grid { stroke: var(--line); }
polyline { fill: none; stroke-width: 1.5; } polyline.first { stroke: var(--first); }
polyline.second { stroke: var(--second); } circle.second { fill: var(--second); }
"""
"""Of a picture that stands alone, in the colours of the reports."""

Point = tuple[int, float]
"""Step and loss."""


class Curves:
    """The curves of a run, from its progress.jsonl and whatever comes behind."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._lines: list[Progress] = []
        self._written = 0.0

    def take(self, line: Progress) -> None:
        """A line that is in progress.jsonl by now; an evaluation's is seen at once. Raises StorageError."""
        # The first one finds those of before, without what the run has dropped when it was gone on with.
        if self._lines:
            self._lines.append(line)
        else:
            self._lines = read_progress(self._run)
        if line.kind == "held_out" or time.monotonic() - self._written > WRITE_SECONDS:
            self.write()

    def write(self) -> None:
        """Write both files, each whole. Raises StorageError."""
        try:
            write_file(self._run / TABLE, self._table().encode())
            write_file(self._run / PICTURE, self._picture().encode())
        except OSError as error:
            raise StorageError(f"the curves cannot be written to {self._run}: {error.strerror or error}") from error
        self._written = time.monotonic()

    def told(self) -> dict[str, list[Point]]:
        """Few points of each curve."""
        return {"train": thinned(self._losses("train"), TOLD), "held_out": thinned(self._losses("held_out"), TOLD)}

    def best_step(self) -> int | None:
        """The first step with the least held-out loss; None where there is none."""
        losses = self._losses("held_out")
        return min(losses, key=lambda point: point[1])[0] if losses else None

    def _losses(self, kind: str) -> list[Point]:
        found = [(line.step, line.values.get("loss")) for line in self._lines if line.kind == kind]
        return [(step, loss) for step, loss in found if loss is not None]

    def _table(self) -> str:
        written = io.StringIO()
        table = csv.DictWriter(written, COLUMNS, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        for line in self._lines:
            if line.kind == "train":
                table.writerow({"step": line.step, "learning_rate": line.values.get("rate"), **line.values})
            elif line.kind == "held_out":
                table.writerow({"step": line.step, "held_out": line.values.get("loss")})
        return written.getvalue()

    def _picture(self) -> str:
        train = [(step, loss, "") for step, loss in thinned(self._losses("train"), DRAWN)]
        held_out = [
            (step, loss, f"step {step}: held out {loss:.4f}") for step, loss in thinned(self._losses("held_out"), DRAWN)
        ]
        drawn = curves([Points("training", train, "first"), Points("held out", held_out, "second")], "step", "loss")
        return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1).replace(
            ">", f"><style>{STYLE}</style>", 1
        )


def thinned(points: list[Point], most: int) -> list[Point]:
    """At most so many: means of stretches of equal length, each at its last step."""
    length = -(-len(points) // most) or 1
    stretches = [points[start : start + length] for start in range(0, len(points), length)]
    return [(some[-1][0], sum(loss for _, loss in some) / len(some)) for some in stretches]
