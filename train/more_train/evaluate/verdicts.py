"""What the figures mean, in words: what is good and what is not."""

from collections.abc import Iterator
from math import comb

from more_server.audio.report import GOOD_SIGNAL_TO_NOISE, LOUDNESS_RANGE
from more_train.evaluate.report import Comparison, Figures, Material, Model, Spread, Verdict

GOOD_ACCURACY, BAD_ACCURACY = 0.9, 0.7
"""Of content retrieval. Chance is a tenth; the nano that was bundled first found 54 of 60."""
GOOD_STOPPED, BAD_STOPPED = 0.95, 0.85
"""Of sentences that end by themselves; guards save most of the others, at the price of a second try."""
GOOD_RATIO = (0.8, 1.25)
"""Of the median to the reference's: people's own tempo varies by a quarter."""
GOOD_IN_RANGE = 0.95
GOOD_APART, BAD_APART = 0.9, 0.7
"""Of two voices chance tells half apart."""
GOOD_STEADY, BAD_STEADY = 0.98, 0.9
"""Of the sentences of a voice: one in fifty may be nearer to the other reader by chance."""
NEAR_REFERENCE = 0.1
"""Below what another recording of the speaker reaches in cosine, a voice is told from his own."""
GOOD_LEVEL_SPREAD = 8.0
"""LU between quiet and loud sentences; what the loudness plugin then has to even out."""
GOOD_WORD_ERRORS = 0.05
"""More than the recogniser makes of the references themselves."""
SIGNIFICANT = 0.05


def verdicts(model: Model, material: Material) -> tuple[Verdict, ...]:
    """The summary of a model, the most important first."""
    return (
        *_on_speaking(model.figures),
        *_on_content(model.figures, material),
        *_on_length(model.figures, material),
        *_on_voice(model.figures),
        *_on_sound(model.figures),
        *_on_losses(model),
        *(Verdict("note", remark) for remark in model.remarks),
    )


def _judged(value: float, good: float, bad: float, text: str) -> Verdict:
    """Good from one bound on, bad below the other."""
    return Verdict("good" if value >= good else "bad" if value < bad else "note", text)


def _on_speaking(figures: Figures) -> Iterator[Verdict]:
    if figures.failed:
        yield Verdict("bad", f"{figures.failed} of {figures.sentences} sentences could not be spoken at all.")
    if figures.silent:
        yield Verdict("bad", f"{figures.silent} of {figures.spoken} came out silent.")


def _on_content(figures: Figures, material: Material) -> Iterator[Verdict]:
    begins = "It says what it is asked to" if figures.accuracy >= GOOD_ACCURACY else "It says too little clearly"
    yield _judged(
        figures.accuracy,
        GOOD_ACCURACY,
        BAD_ACCURACY,
        f"{begins}: {figures.found} of {figures.sentences} sentences ({figures.accuracy:.0%}, 95% interval "
        f"{figures.accuracy_low:.0%} to {figures.accuracy_high:.0%}) are nearer to their own reference than to others "
        f"of like length; chance finds {figures.chance:.0%}.",
    )
    if (rate := figures.word_error_rate) is not None and (own := figures.reference_word_error_rate) is not None:
        good = rate <= own + GOOD_WORD_ERRORS
        yield Verdict(
            "good" if good else "bad",
            f"{material.recogniser} hears {rate:.1%} of the words wrong; of the references themselves {own:.1%}.",
        )
    told = ", ".join(f"{guard} in {count}" for guard, count in figures.guards.items())
    yield _judged(
        figures.stopped,
        GOOD_STOPPED,
        BAD_STOPPED,
        f"{figures.stopped:.0%} of the sentences end by themselves at the first try"
        + (f"; guards acted: {told}." if told else "; no guard had to act."),
    )


def _on_length(figures: Figures, material: Material) -> Iterator[Verdict]:
    if figures.duration_ratio is None:
        return
    ratio = figures.duration_ratio.median
    good = GOOD_RATIO[0] <= ratio <= GOOD_RATIO[1] and figures.duration_in_range >= GOOD_IN_RANGE
    pace = "as fast as" if 0.95 < ratio < 1.05 else f"{_times(1 / ratio)} faster than" if ratio < 1 else ""
    pace = pace or f"{_times(ratio)} slower than"
    yield Verdict(
        "good" if good else "bad",
        f"It speaks {pace} the references ({material.references}); {figures.duration_in_range:.0%} of the sentences "
        "last 0.6 to 1.6 times as long.",
    )


def _times(ratio: float) -> str:
    return f"{ratio - 1:.0%}"


def _on_voice(figures: Figures) -> Iterator[Verdict]:
    own, other, natural = figures.similarity, figures.other_similarity, figures.reference_similarity
    if (steady := figures.steady_timbre) is not None:
        yield _judged(
            steady,
            GOOD_STEADY,
            BAD_STEADY,
            f"The timbre of a voice is the same in {steady:.0%} of its sentences, as told by the nearer of a man's and "
            "a woman's reading" + ("." if steady >= BAD_STEADY else ": chance draws who speaks."),
        )
    if figures.voices_told_apart is not None and own and other:
        yield _judged(
            figures.voices_told_apart,
            GOOD_APART,
            BAD_APART,
            f"By the model's own speaker encoder {figures.voices_told_apart:.0%} of the sentences are nearer to the "
            f"voice that was asked for (cosine {own.median:.3f}) than to any other ({other.median:.3f})"
            + (
                "."
                if figures.voices_told_apart >= BAD_APART
                else ": its voices sound alike, or its encoder is deaf to it."
            ),
        )
    elif own:
        yield Verdict("note", f"Cosine with the voice, by the model's own speaker encoder: {own.median:.3f}.")
    if own and natural:
        near = own.median >= natural.median - NEAR_REFERENCE
        yield Verdict(
            "good" if near else "bad",
            f"Recordings of the same speakers reach {natural.median:.3f} with their voices, this {own.median:.3f}.",
        )


def _on_sound(figures: Figures) -> Iterator[Verdict]:
    level, noise = figures.loudness, figures.signal_to_noise
    if figures.clipped:
        yield Verdict("bad", f"{figures.clipped:.0%} of the sentences are clipped.")
    if level:
        even = _width(level) <= GOOD_LEVEL_SPREAD and LOUDNESS_RANGE[0] <= level.median <= LOUDNESS_RANGE[1]
        yield Verdict(
            "good" if even and not figures.clipped else "bad",
            f"Level before post-processing: {level.median:.1f} LUFS, nine in ten sentences within {_width(level):.1f} "
            f"LU; the highest peak is at {figures.highest_peak:.1f} dBFS.",
        )
    if noise and noise.median < GOOD_SIGNAL_TO_NOISE:
        yield Verdict(
            "bad", f"Steady noise lies {noise.median:.0f} dB below the speech; {GOOD_SIGNAL_TO_NOISE:.0f} are good."
        )


def _width(spread: Spread) -> float:
    return spread.high - spread.low


def _on_losses(model: Model) -> Iterator[Verdict]:
    if model.losses:
        told = ", ".join(f"{name} {value:.3f}" for name, value in model.losses.values.items())
        yield Verdict("note", f"Held-out losses over {model.losses.clips} recordings: {told}.")


# -- two models


def compared(first: Model, second: Model) -> Comparison:
    """Two models on the same sentences: what one says recognisably and the other does not."""
    pairs = [(one.found, other.found) for one, other in zip(first.sentences, second.sentences, strict=True)]
    ours, theirs = pairs.count((True, False)), pairs.count((False, True))
    p_value = sign_test(ours, theirs)
    better, worse = (first.id, second.id) if ours > theirs else (second.id, first.id)
    if p_value <= SIGNIFICANT:
        verdict = f"{better} says more of them recognisably than {worse}, and not by chance"
    elif ours == theirs:
        verdict = f"{first.id} and {second.id} say as many of them recognisably"
    else:
        verdict = f"{better} says more of them recognisably than {worse}, which may be chance"
    return Comparison(
        both_found=pairs.count((True, True)),
        only_first=ours,
        only_second=theirs,
        neither=pairs.count((False, False)),
        p_value=round(p_value, 4),
        verdict=f"{verdict} ({ours} only by {first.id}, {theirs} only by {second.id}, p = {p_value:.2g}).",
    )


def sign_test(one: int, other: int) -> float:
    """Two-sided exact probability that a fair coin parts so many cases at least as far (McNemar's exact test)."""
    cases = one + other
    tail = sum(comb(cases, k) for k in range(min(one, other) + 1))
    return min(1.0, 2 * float(tail) / float(2**cases))
