"""How many replicas a day's traffic needs, by simulation; `python tests/bench/fleet.py --help`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

if __name__ == "__main__":
    # A script's own folder stands first on the path, where the checkout belongs.
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import msgspec
from cyclopts import App, Parameter
from cyclopts.validators import Number

from more_server.tables import EngineSettings
from tests.bench.simulated import tables
from tests.bench.simulated.scaling import Autoscaling
from tests.bench.simulated.service import Service, from_bench, services
from tests.bench.simulated.simulation import Routing, Setup
from tests.bench.simulated.study import TUNED_REPLICAS, Goal, Study
from tests.bench.simulated.traffic import Day

Positive = Annotated[float, Parameter(validator=Number(gt=0))]
Share = Annotated[float, Parameter(validator=Number(gte=0, lte=1))]
Whole = Annotated[int, Parameter(validator=Number(gte=0))]
ENGINE, DAY = EngineSettings(), Day(peak=1.0)
SIZES = "1,3,10,30,100,300,1000"
MOST_REPLICAS = 1_000
SCALED = (3, 10, 30, 1_000)
"""Fleets that are shown with an autoscaler, too, as far as they were asked for."""
PLACING_SECONDS = 13.5
"""Until Serve has a process for a replica: 12 to 15 were measured on two cores, a machine that stands there."""
BESIDE_A_JOB = 1.16
"""First audio beside a speech job, in first audio without one; measured with nano (LOG.md, 2026-11-26)."""
SERVE_DEFAULTS = "Serve's defaults"

app = App(name="fleet.py", help_format="markdown", version_flags=())
app["--help"].show = False


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command is asked, beside the kind of replica."""

    bench: Path | None = None
    """A file that ends in the JSON line of `more-server bench`: one replica is the machine that it ran on."""
    replicas: str = SIZES
    """Sizes of fleets, 1 to 1000 each."""
    peak: Positive | None = None
    """Requests a minute at the busiest moment; instead of `replicas`, the fewest that carry them are looked for."""
    load: Share | None = None
    """Traffic of every fleet at its peak, in what it could speak; not with `peak`."""
    goal_ms: Positive = 1000.0
    """First audio of 95 requests in 100, in the worst hour, ms."""
    behind: Share = 0.05
    """Share of the streams that may be made slower than they are heard."""
    concurrency: Whole = ENGINE.max_concurrency
    """The setting engine.max_concurrency of each replica; 0: as many as were measured."""
    queue: Whole = ENGINE.queue
    """engine.queue of each replica."""
    deadline: Positive = ENGINE.deadline_seconds
    """engine.deadline_seconds."""
    routing: Routing = "two"
    """two: the less busy of two at random, as Serve does it; least: the least busy of all; random."""
    night: Share = DAY.night
    """Rate in the quietest moment, in peaks."""
    sharpness: Positive = DAY.sharpness
    """Of the peak: 1 is a cosine, more is a shorter rush hour."""
    bursts: Share = DAY.bursts
    """Standard deviation of the rate from minute to minute, in rates."""
    speech: Positive = DAY.median_seconds
    """Median length of a request's speech, seconds."""
    jobs: Annotated[float, Parameter(validator=Number(gte=0))] = 4.0
    """Hours of long speech that come in a day for each replica, spoken where nobody else is; 0: none."""
    start: Positive | None = None
    """Seconds until an ordered replica takes requests; without it, Serve's 13.5 and the time to load. A machine that
    has to be bought first takes minutes."""
    price: Positive | None = None
    """Of an hour of one replica's machine, in any currency; without it, 0.10 on a CPU and 3.00 on a GPU."""
    requests: Annotated[int, Parameter(validator=Number(gte=10_000))] = 2_000_000
    """Simulated in one run at most: of large fleets a shorter day, or a slice; the table says which."""
    seed: Whole = 1
    """The same one gives the same tables."""
    plot: Path | None = None
    """File for a picture, SVG: first audio and replicas over the day of the largest fleet with an autoscaler."""

    def study(self, service: str) -> Study:
        """The replica, the day and the promise. Raises ValueError or OSError for a file that is no benchmark."""
        if self.peak and self.load:
            raise ValueError("--peak and --load exclude each other: both say how much traffic there is")
        one = _service(service, self.bench, self.price)
        setup = Setup(
            service=one,
            replicas=1,
            concurrency=self.concurrency,
            queue=self.queue,
            deadline_seconds=self.deadline,
            routing=self.routing,
            start_seconds=self.start or PLACING_SECONDS + one.load_seconds,
            first_audio_factor=BESIDE_A_JOB if self.jobs else 1.0,
        )
        setup.service.speeds(setup.places)
        day = Day(peak=1, night=self.night, sharpness=self.sharpness, bursts=self.bursts, median_seconds=self.speech)
        goal = Goal(first_seconds=self.goal_ms / 1000, behind=self.behind)
        return Study(setup=setup, day=day, goal=goal, requests=self.requests, seed=self.seed)


@app.default
def fleet(
    service: Literal["xtts-cpu", "nano", "xtts-gpu"] = "xtts-cpu",
    *,
    asked: Annotated[Asked, Parameter(name="*")] = Asked(),
) -> None:
    """Simulate days of fleets of replicas: first audio, refusals, use and cost, and settings for Serve's autoscaler.

    Each fleet gets the traffic that it can just carry within the goal, or a given one. Tables are Markdown.

    Parameters
    ----------
    service
        What one replica is: xtts-cpu and nano were measured on two CPU cores; xtts-gpu is assumed.
    """
    try:
        study = asked.study(service)
        traffic = _traffic(study, _sizes(asked.replicas), asked.peak, asked.load)
        show(study, traffic, asked.jobs, asked.plot)
    except (ValueError, OSError) as error:
        sys.exit(f"fleet.py: {error}")


def show(study: Study, traffic: list[tuple[int, float]], jobs: float, plot: Path | None) -> None:
    """Simulate and print. Raises OSError where the picture cannot be written."""
    print(tables.premises(study), "", sep="\n", flush=True)
    fixed = {size: study.fixed(size, peak) for size, peak in traffic}
    print(tables.fixed_table(list(fixed.values()), study, jobs / 24), flush=True)
    larger = {size: peak for size, peak in traffic if size > 1}
    if not larger:
        print("\nOne replica has nothing to scale.")
        return
    shown = [size for size in larger if size in SCALED] or [max(larger)]
    middle = min(larger, key=lambda size: abs(size - TUNED_REPLICAS))
    few = min(middle, TUNED_REPLICAS)
    settings, good = study.recommended(few, larger[middle] * few / middle)
    if not good:
        print("\nNo settings of the autoscaler kept the promise; these came nearest to it.")
    rows = [(SERVE_DEFAULTS, study.scaled(middle, larger[middle], Autoscaling()))]
    rows += [("recommended", study.scaled(size, larger[size], settings)) for size in shown]
    last = rows[-1][1]
    print("\n" + tables.scaled_table(rows, study))
    config = tables.serve_config(last.replicas, study, settings)
    print(f"\nFor the traffic of {last.replicas}:\n\n```yaml\n{config}\n```")
    if plot:
        plot.write_text(tables.picture(fixed[last.replicas], last), "utf-8")


def _service(name: str, bench: Path | None, price: float | None) -> Service:
    known = services()[name]
    if bench is None:
        return msgspec.structs.replace(known, price=price or known.price)
    lines = bench.read_text("utf-8").strip().splitlines()
    return from_bench(lines[-1] if lines else "", price or known.price)


def _sizes(replicas: str) -> list[int]:
    words = [word.strip() for word in replicas.split(",")]
    if not all(word.isdecimal() and 1 <= int(word) <= MOST_REPLICAS for word in words):
        raise ValueError(f"--replicas {replicas}: give numbers from 1 to {MOST_REPLICAS}, such as 1,10,100")
    return sorted(set(map(int, words)))


def _traffic(study: Study, sizes: list[int], peak: float | None, load: float | None) -> list[tuple[int, float]]:
    """Each fleet, and its requests a second at the peak. Raises ValueError where the goal is out of reach."""
    if peak:
        return [(study.needed(peak / 60), peak / 60)]
    if load:
        return [(size, load * size * study.capacity) for size in sizes]
    carried = [(size, study.carried(size)) for size in sizes]
    if not any(peak for _, peak in carried):
        raise ValueError("none of these fleets keeps the promise with any traffic; try more for --goal-ms or --behind")
    return [one for one in carried if one[1]]


if __name__ == "__main__":
    app()
