"""The simulated fleet against what is known of queues, and against Serve's own autoscaler."""

import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.bench.simulated.outcome import DEADLINE, FULL, LATE, Outcome
from tests.bench.simulated.scaling import Autoscaler, Autoscaling
from tests.bench.simulated.service import Service, services
from tests.bench.simulated.simulation import Replica, Setup, Simulation, simulate
from tests.bench.simulated.traffic import Day, Floats

BATCHES = 25


def service(*speech: float, first: float = 0.0) -> Service:
    """One that makes so much audio a second with 1, 2 … streams."""
    counts = tuple(range(1, len(speech) + 1))
    firsts = (first,) * len(speech)
    return Service(
        name="made-up", source="made up", streams=counts, speech=speech, first=firsts, load_seconds=1, price=1
    )


def independent(places: int) -> Service:
    """Each stream in real time, whatever the others do: servers of a textbook."""
    return service(*(float(count) for count in range(1, places + 1)))


def patient(one: Service, replicas: int = 1, **changes: Any) -> Setup:
    """Nobody is refused."""
    return Setup(**({"service": one, "replicas": replicas, "queue": math.inf, "deadline_seconds": math.inf} | changes))


def poisson(rate: float, count: int, seed: int) -> Floats:
    return np.cumsum(np.random.default_rng(seed).exponential(1 / rate, count))


def exponential(count: int, seed: int) -> Floats:
    return np.random.default_rng(1000 + seed).exponential(1.0, count)


def uneven(count: int, seed: int) -> Floats:
    """Lengths of mean 1 that vary more than exponential ones."""
    spread = 1.2
    return np.random.default_rng(2000 + seed).lognormal(-(spread**2) / 2, spread, count)


def near(values: Floats, expected: float) -> bool:
    """Whether the mean is the expected one within four standard errors, from means of batches, as values hang together.

    Not vacuous: the error itself has to be small.
    """
    means = np.array([batch.mean() for batch in np.array_split(values, BATCHES)])
    error = means.std(ddof=1) / math.sqrt(BATCHES)
    return bool(error < 0.05 * expected and abs(means.mean() - expected) < 4 * error)


def erlang_b(places: int, load: float) -> float:
    """Share of the calls that find all lines taken."""
    blocked = 1.0
    for count in range(1, places + 1):
        blocked = load * blocked / (count + load * blocked)
    return blocked


def erlang_c(places: int, load: float) -> float:
    """Share of the customers who wait."""
    blocked = erlang_b(places, load)
    return blocked / (1 - load / places * (1 - blocked))


# -- queues


@pytest.mark.parametrize(("places", "load"), [(1, 0.6), (4, 3.0), (8, 6.8)])
def test_a_queue_before_equal_servers_waits_as_erlang_says(places: int, load: float) -> None:
    count = 300_000
    outcome = simulate(patient(independent(places)), poisson(load, count, 5), exponential(count, 5))
    waits = outcome.admitted - outcome.times
    assert near((waits > 1e-9).astype(float), erlang_c(places, load))
    assert near(waits, erlang_c(places, load) / (places - load))


def test_one_place_more_is_told_apart() -> None:
    count = 300_000
    outcome = simulate(patient(independent(4)), poisson(3.0, count, 5), exponential(count, 5))
    assert not near(outcome.admitted - outcome.times, erlang_c(5, 3.0) / (5 - 3.0))


@pytest.mark.parametrize("lengths", [exponential, uneven])
def test_streams_that_share_a_machine_take_as_long_as_processor_sharing(lengths: Any) -> None:
    """Mean time 1 / (1 - load), whatever the lengths are distributed like, if only their mean is 1."""
    count, load = 300_000, 0.6
    outcome = simulate(patient(service(*[1.0] * 400)), poisson(load, count, 6), lengths(count, 6))
    assert near(outcome.ended - outcome.times, 1 / (1 - load))


@pytest.mark.parametrize("lengths", [exponential, uneven])
def test_without_a_queue_as_many_are_refused_as_erlang_says(lengths: Any) -> None:
    count, places, load = 300_000, 5, 4.0
    outcome = simulate(patient(independent(places), queue=0), poisson(load, count, 7), lengths(count, 7))
    assert near((outcome.refused == FULL).astype(float), erlang_b(places, load))
    assert set(np.unique(outcome.refused)) == {0, FULL}


def test_a_listener_alone_hears_what_was_measured() -> None:
    one = services()["xtts-cpu"]
    outcome = simulate(Setup(service=one, replicas=1), np.array([0.0, 100.0]), np.array([5.0, 5.0]))
    assert outcome.first - outcome.times == pytest.approx([one.first[0]] * 2)
    assert outcome.ended - outcome.times == pytest.approx([5.0 / one.speech[0]] * 2)
    assert outcome.behind == 0


def test_streams_started_together_end_together_and_late() -> None:
    one = services()["xtts-cpu"]
    outcome = simulate(Setup(service=one, replicas=1), np.zeros(8), np.full(8, 5.0))
    assert outcome.ended == pytest.approx([8 * 5.0 / one.speech[-1]] * 8)
    assert outcome.first[-1] == one.first[-1]
    assert outcome.behind == 1


# -- what must always hold


def crowded(**changes: Any) -> tuple[Setup, Floats, Floats]:
    """More than two replicas can speak."""
    setup = Setup(**({"service": services()["xtts-cpu"], "replicas": 2} | changes))
    day = Day(peak=3.0, night=0.5)
    return setup, *day.arrivals(np.random.default_rng(3), 3600.0)


@pytest.mark.parametrize("until", [10.0, 600.0, 3600.0, math.inf])
def test_every_request_is_served_refused_or_under_way(until: float) -> None:
    setup, times, lengths = crowded(
        autoscaling=Autoscaling(min_replicas=1, max_replicas=3, upscale_delay_s=0, downscale_delay_s=60)
    )
    outcome = simulate(setup, times, lengths, until=until)
    refused = int(np.count_nonzero(outcome.refused))
    assert len(outcome.times) == int((times <= until).sum())
    assert outcome.served + refused + outcome.under_way == len(outcome.times)
    assert outcome.under_way == 0 if until == math.inf else outcome.under_way <= 3 * (8 + 32)
    assert not (np.isfinite(outcome.admitted) & (outcome.refused > 0)).any()
    assert refused > 0 or until < 3600


def test_nobody_waits_for_longer_than_the_deadline() -> None:
    setup, times, lengths = crowded(deadline_seconds=8.0, queue=1000)
    outcome = simulate(setup, times, lengths)
    waits = (outcome.admitted - outcome.times)[np.isfinite(outcome.admitted)]
    assert 4 < waits.max() <= 8.0
    assert set(np.unique(outcome.refused)) <= {0, DEADLINE, LATE}
    assert np.count_nonzero(outcome.refused == DEADLINE) > 0


def test_whose_wait_would_be_too_long_is_refused_at_once() -> None:
    """As the scheduler reckons: three seconds each until one was measured, two at a time, eight seconds at most."""
    setup = patient(independent(2), deadline_seconds=8.0)
    outcome = simulate(setup, np.zeros(30), np.ones(30))
    assert (outcome.served, np.count_nonzero(outcome.refused == DEADLINE)) == (2 + 5, 30 - 2 - 5)


def test_the_queue_is_as_long_as_it_is_allowed_to_be() -> None:
    setup, *_ = crowded(replicas=1, queue=5)
    outcome = simulate(setup, np.zeros(30), np.ones(30))
    assert (outcome.served, np.count_nonzero(outcome.refused == FULL)) == (8 + 5, 30 - 8 - 5)


def test_more_replicas_are_never_worse() -> None:
    _, times, lengths = crowded()
    days = [simulate(crowded(replicas=count, routing="least")[0], times, lengths) for count in range(1, 9)]
    for fewer, more in pairwise(days):
        assert more.refused_share <= fewer.refused_share
        assert more.behind <= fewer.behind + 0.01
        assert more.first_audio(95) <= fewer.first_audio(95)
    assert days[0].refused_share > 0.5
    assert days[-1].refused_share == 0


def test_the_same_seed_gives_the_same_day_and_another_one_another() -> None:
    setup, times, lengths = crowded(replicas=5)
    one, again, other = (simulate(setup, times, lengths, seed) for seed in (1, 1, 2))
    for name in ("admitted", "first", "ended", "refused"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert not np.array_equal(one.ended, other.ended)


def test_looking_at_two_is_nearly_as_good_as_at_all_and_chance_is_not() -> None:
    count = 60_000
    times, lengths = poisson(0.85 * 40, count, 8), exponential(count, 8)
    waits = {}
    for routing in ("least", "two", "random"):
        outcome = simulate(patient(independent(2), 20, routing=routing), times, lengths)
        waits[routing] = float((outcome.admitted - outcome.times).mean())
    assert waits["least"] < waits["two"] < 0.3 * waits["random"]


def test_at_random_every_replica_is_a_queue_of_its_own() -> None:
    count = 400_000
    setup = patient(independent(1), 10, routing="random")
    outcome = simulate(setup, poisson(6.0, count, 9), exponential(count, 9))
    assert near(outcome.admitted - outcome.times, 0.6 / (1 - 0.6))


def test_idle_time_and_speaking_make_up_the_time_of_the_replicas() -> None:
    count = 20_000
    outcome = simulate(patient(independent(1), 3), poisson(1.5, count, 4), exponential(count, 4))
    assert outcome.idle_seconds.sum() + outcome.audio_seconds == pytest.approx(3 * outcome.ended_at)
    assert outcome.busy == pytest.approx(0.5, abs=0.02)


# -- replicas that come and go


def surge(start: float, most: int = 4) -> Outcome:
    """Nobody for ten minutes, then three times what one replica can speak for twenty, then nobody for thirty."""
    times = 600 + poisson(3 * 3.9 / 5, 2800, 1)
    setup = Setup(
        service=services()["xtts-cpu"],
        replicas=1,
        start_seconds=start,
        autoscaling=Autoscaling(max_replicas=most, upscale_delay_s=20, downscale_delay_s=120),
    )
    return simulate(setup, times, np.full(len(times), 5.0), until=3600)


def test_a_replica_takes_requests_when_it_has_started_and_not_before() -> None:
    outcome = surge(60.0)
    later = [life for life in outcome.lives if life.ordered > 0]
    assert later
    assert min(life.ordered for life in later) >= 600 + 20
    assert [life.ready - life.ordered for life in later if life.gone > life.ready] == pytest.approx([60.0] * 3)
    at = outcome.replicas_over(3600)
    assert (at[:680].max(), at.max()) == (1, 4)


def test_people_wait_for_replicas_that_start_late() -> None:
    soon, late = surge(1.0), surge(300.0)
    assert late.refused_share > 2 * soon.refused_share
    assert late.first_audio(95) > soon.first_audio(95)


class Watched(Simulation):
    """Notes which replica every request went to, and whether it was leaving."""

    def __init__(self, *arguments: Any) -> None:
        self.sent_to: list[Replica] = []
        super().__init__(*arguments)

    def _route(self) -> Replica:
        replica = super()._route()
        assert not replica.draining
        self.sent_to.append(replica)
        return replica


@pytest.mark.parametrize("routing", ["two", "least", "random"])
def test_draining_loses_nothing(routing: Any) -> None:
    times = np.concatenate((poisson(4.0, 4800, 1), 1200 + poisson(0.5, 1200, 2)))
    lengths = np.random.default_rng(1).uniform(1, 30, len(times))
    scaling = Autoscaling(max_replicas=40, target_ongoing_requests=4, downscale_delay_s=20, upscale_delay_s=0)
    setup = patient(services()["xtts-cpu"], routing=routing, start_seconds=5, autoscaling=scaling)
    simulation = Watched(setup, times, lengths, 1)
    outcome = simulation.run()
    assert (outcome.served, outcome.under_way, outcome.refused.any()) == (len(times), 0, False)
    ended_after_drain = 0
    for request, replica in enumerate(simulation.sent_to):
        life = replica.life
        assert life.ready <= times[request] <= life.drained
        assert outcome.ended[request] <= life.gone
        ended_after_drain += outcome.ended[request] > life.drained
    assert ended_after_drain > 0
    assert sum(life.gone < math.inf for life in outcome.lives) > 5


@pytest.mark.parametrize("seed", range(4))
def test_it_decides_as_serve_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = pytest.importorskip("ray.serve.autoscaling_policy", reason="Serve is not installed")
    from ray.serve.config import AutoscalingConfig

    random = np.random.default_rng(seed)
    settings = Autoscaling(
        max_replicas=50,
        target_ongoing_requests=3,
        upscale_delay_s=20,
        downscale_delay_s=60,
        upscaling_factor=float(random.choice([1.0, 0.5])),
        downscaling_factor=float(random.choice([1.0, 0.5, 0.25])),
    )
    theirs = AutoscalingConfig(**msgspec.structs.asdict(settings))
    scaler, under_way, state, added = Autoscaler(settings), 10.0, {}, 0.0
    target = running = 5
    for tick in range(1, 500):
        now = 10.0 * tick
        monkeypatch.setattr(policy, "time", SimpleNamespace(time=lambda now=now: now))
        under_way = max(0.0, under_way + random.normal(0, 6))
        added += 10 * under_way
        ours = scaler.decide(now, added, running, target)
        told = list(scaler._told)
        mean = (told[-1][1] - told[0][1]) / (now - told[0][0]) if len(told) > 1 else 0.0
        context: Any = SimpleNamespace(
            current_num_replicas=running, target_num_replicas=target, config=theirs, total_num_requests=mean
        )
        wanted, _ = policy._core_replica_queue_length_policy(context)
        decided, state = policy._apply_default_params(wanted, context, state)
        assert ours == min(max(decided, 1), 50)
        target, running = ours, target  # those that were ordered are there at the next tick
    assert tick == 499


# -- the day, and jobs


def test_a_day_has_its_peak_at_noon_and_as_many_requests_as_it_should() -> None:
    day = Day(peak=2.0, night=0.25, sharpness=1.0, bursts=0.0)
    assert day.rate(np.array([0.0, 12.0, 24.0])) == pytest.approx([0.5, 2.0, 0.5])
    assert day.mean_rate == pytest.approx((0.5 + 2.0) / 2)
    times, lengths = day.arrivals(np.random.default_rng(1), 86_400)
    expected = day.mean_rate * 86_400
    assert abs(len(times) - expected) < 4 * math.sqrt(expected)
    assert (np.diff(times) >= 0).all()
    counts, _ = np.histogram(times, 24, (0, 86_400))
    assert counts.argmax() in (11, 12)
    assert counts.max() == pytest.approx(2.0 * 3600, rel=0.05)
    assert 0.5 <= lengths.min() < lengths.max() <= 30
    assert float(np.median(lengths)) == pytest.approx(4.0, rel=0.02)


def test_a_shorter_day_has_the_same_rates() -> None:
    day = Day(peak=20.0)
    times, _ = day.arrivals(np.random.default_rng(1), 3600)
    assert len(times) / 3600 == pytest.approx(day.mean_rate, rel=0.1)


def test_bursts_make_minutes_differ_by_more_than_chance() -> None:
    for bursts, spread in ((0.0, 1.0), (0.3, 1 + 0.3**2 * 600)):
        times, _ = Day(peak=10.0, night=1.0, bursts=bursts).arrivals(np.random.default_rng(2), 86_400)
        counts, _ = np.histogram(times, 1440)
        assert counts.var() / counts.mean() == pytest.approx(spread, rel=0.15)


def test_jobs_get_the_gaps_and_no_more() -> None:
    times = np.array([0.0])
    outcome = simulate(Setup(service=independent(1), replicas=2), times, np.array([480.0]), until=960)
    room = (960 + 480) * 0.92
    assert outcome.room_for_jobs * 960 == pytest.approx(room)
    assert outcome.idle_seconds == pytest.approx([10.0] * 48 + [20.0] * 48)
    assert outcome.jobs(0.5) == (pytest.approx(1.0), pytest.approx(0, abs=0.25))
    share, wait = outcome.jobs(3.0)
    assert share == pytest.approx(room / (3 * 960), rel=1e-6)
    assert wait == pytest.approx((1 - room / (3 * 960)) * 24, abs=0.3)
