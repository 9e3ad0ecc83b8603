"""Days of fleets as Markdown, settings as a Serve config, and a picture."""

import math
from collections.abc import Sequence

import numpy as np
from more_train.evaluate.plots import HEIGHT, LEFT, WIDTH, Points, curves

from tests.bench.simulated.outcome import PARTS
from tests.bench.simulated.scaling import Autoscaling
from tests.bench.simulated.service import services
from tests.bench.simulated.study import DAY_SECONDS, Row, Study
from tests.bench.simulated.traffic import HOURS, Floats

SPARE_REQUESTS = 8
"""Beyond what a replica takes, so that it is the replica that answers 429, with a `Retry-After`, at once."""

HEARD = ("first audio p50, p95, p95 of the worst hour", "refused", "behind", "as promised")


def machines() -> str:
    """What one replica does, for the README."""
    heads = ["replica", "streams in real time", "together", "speech an hour", "an hour of speech costs at least", ""]
    rows = []
    for service in services().values():
        speeds, most = service.speeds(service.slots), service.slots
        in_time = max(count for count in range(1, most + 1) if speeds[count] >= 1)
        speech = most * speeds[most]
        cost = f"{service.price / speech:.4f} at {service.price:.2f} an hour"
        rows.append([f"`{service.name}`", str(in_time), str(most), f"{speech:.3g} h", cost, service.source])
    return _table(heads, rows)


def premises(study: Study) -> str:
    """What is simulated, as a list."""
    setup, day, goal = study.setup, study.day, study.goal
    service, places = setup.service, setup.places
    speeds, firsts = service.speeds(places), service.firsts(places)
    counts = sorted({n for n in service.streams if n <= places} | {places})
    shown = ", ".join(f"{n}: {n * speeds[n]:.3g} s/s and {_seconds(firsts[n])}" for n in counts)
    return "\n".join(
        (
            f"- One replica, `{service.name}`, {service.source}. Streams at once, audio made, first audio: {shown}.",
            f"- It speaks to {places} at a time, {setup.queue:g} may wait, {setup.deadline_seconds:g} s at most; it "
            f"takes requests {setup.start_seconds:g} s after it was ordered. Routing: {_routing(setup.routing)}.",
            f"- Speech of {day.median_seconds:g} s in the median, {day.mean_seconds:.1f} s on average, "
            f"{day.most_seconds:g} s at most. Night: {100 * day.night:g} % of the peak; from minute to minute the rate "
            f"varies by {100 * day.bursts:g} %.",
            f"- Promised: first audio within {_seconds(goal.first_seconds)} for 95 of 100 in the worst hour, at most "
            f"{100 * goal.behind:g} % of streams made slower than heard, {100 * goal.refused:g} % refused.",
        )
    )


def fixed_table(rows: Sequence[Row], study: Study, jobs: float) -> str:
    """A row for each size of fleet; jobs: seconds of long speech that come in a second, for each replica."""
    room = ["room for long speech a day, each; longest wait"] if jobs else []
    heads = ["replicas", "requests a minute at the peak", "listeners then", *HEARD, "busy at the peak, all day"]
    heads += ["an hour of speech costs", *room, "simulated"]
    return _table(heads, [_fixed(row, study, jobs) for row in rows])


def scaled_table(rows: Sequence[tuple[str, Row]], study: Study) -> str:
    """A row for each fleet whose size changes, with a word on its settings."""
    heads = ["traffic of", "settings", "replicas, mean", "started a day", *HEARD, "busy all day"]
    return _table([*heads, "an hour of speech costs", "simulated"], [_scaled(word, row, study) for word, row in rows])


def serve_config(replicas: int, study: Study, settings: Autoscaling) -> str:
    """What belongs under a deployment in a Serve config, for the traffic that so many replicas carry."""
    chosen = study.bounded(settings, replicas)
    lines = (f"  {name}: {getattr(chosen, name):g}" for name in Autoscaling.__struct_fields__)
    ongoing = study.setup.places + int(study.setup.queue) + SPARE_REQUESTS
    return "\n".join((f"max_ongoing_requests: {ongoing}", "autoscaling_config:", *lines))


def picture(fixed: Row, scaled: Row) -> str:
    """First audio and replicas over a day as SVG, of a fixed fleet and of one that changes."""
    from more_train.curves import STYLE  # brings torch

    across, up = "hour; the peak is at 12", "first audio p95, ms"
    first = [
        _line(f"{name}: {up}", 1000 * row.outcome.first_audio_over(PARTS, 95), colour)
        for name, row, colour in (("fixed", fixed, "second"), ("autoscaled", scaled, "first"))
    ]
    count = scaled.outcome.replicas_over(PARTS) * scaled.replicas / scaled.simulated
    sizes = [_line("fixed: replicas", 0 * count + fixed.replicas, "second"), _line("replicas", count, "first")]
    titles = ("First audio of 95 in 100 (blue: autoscaled, orange: fixed)", "Replicas that take requests")
    panels = []
    pictures = (curves(first, across, up), curves(sizes, across, "replicas"))
    for place, (title, drawn) in enumerate(zip(titles, pictures, strict=True)):
        sized = drawn.replace("<svg ", f'<svg width="{WIDTH}" height="{HEIGHT}" ', 1)
        name = f'<text class="name" x="{LEFT}" y="0">{title}</text>'
        panels.append(f'<g transform="translate(0 {(HEIGHT + 30) * place + 20})">{name}{sized}</g>')
    box = f"0 0 {WIDTH} {2 * (HEIGHT + 30)}"
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}"><style>{STYLE}</style>{"".join(panels)}</svg>\n'


def _line(name: str, values: Floats, colour: str) -> Points:
    hours = (np.arange(len(values)) + 0.5) * HOURS / len(values)
    known = zip(hours.tolist(), values.tolist(), strict=True)
    return Points(name, [(hour, value, "") for hour, value in known if math.isfinite(value)], colour)


def _fixed(row: Row, study: Study, jobs: float) -> list[str]:
    outcome, peak = row.outcome, row.day.peak
    share, wait = outcome.jobs(jobs * row.simulated)
    waits = f"{wait:g} h" if share > 0.999 else f"{100 * (1 - share):.0f} % not spoken"
    busy = f"{_percent(outcome.busy_at_peak)}, {_percent(outcome.busy)}"
    return [
        f"{row.replicas:,}",
        _count(60 * peak),
        _count(peak * row.day.mean_seconds),
        *_heard(row, study),
        busy,
        _cost(row, study),
        *([f"{outcome.room_for_jobs * HOURS / row.simulated:.0f} h; {waits}"] if jobs else []),
        _simulated(row),
    ]


def _scaled(word: str, row: Row, study: Study) -> list[str]:
    mean, starts, busy = _count(row.mean_replicas), f"{row.starts:,.0f}", _percent(row.outcome.busy)
    return [f"{row.replicas:,}", word, mean, starts, *_heard(row, study), busy, _cost(row, study), _simulated(row)]


def _heard(row: Row, study: Study) -> list[str]:
    """As HEARD."""
    outcome = row.outcome
    waits = ", ".join(
        _seconds(wait) for wait in (outcome.first_audio(50), outcome.first_audio(95), outcome.worst_hour(95))
    )
    kept = "yes" if study.goal.met(outcome) else "no"
    return [waits, _percent(outcome.refused_share, 2), _percent(outcome.behind, 1), kept]


def _cost(row: Row, study: Study) -> str:
    return f"{study.setup.service.price * row.replica_hours_per_hour_of_speech:.3f}"


def _simulated(row: Row) -> str:
    count = f"{len(row.outcome.times):,} requests"
    part = "" if row.simulated == row.replicas else f", {row.simulated} of the replicas"
    return count + part + ("" if row.seconds == DAY_SECONDS else f", a day in {row.seconds / 3600:.1f} h")


def _routing(name: str) -> str:
    return {"two": "the less busy of two at random", "least": "the least busy of all", "random": "at random"}[name]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, *rows)]
    return "\n".join((lines[0], "|---" * len(heads) + "|", *lines[1:]))


def _seconds(value: float) -> str:
    return "-" if math.isnan(value) else f"{1000 * value:.0f} ms" if value < 9.95 else f"{value:.0f} s"


def _percent(share: float, places: int = 0) -> str:
    return f"{100 * share:.{places}f} %"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 20 else f"{value:.1f}"
