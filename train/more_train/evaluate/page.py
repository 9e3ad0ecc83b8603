"""report.html: one file that needs nothing else; words first, then tables, plots, and sentences to listen to."""

import base64
from collections.abc import Mapping, Sequence
from html import escape

from more_server.audio.encode import encode_file
from more_server.speech import Audio
from more_train.evaluate.plots import Points, Series, histogram, scatter
from more_train.evaluate.report import Figures, Model, Report, Sentence, Spread
from more_train.evaluate.style import STYLE

WORST, BEST = 8, 4
"""Sentences to listen to: faults are what a listener looks for."""
COLOURS = ("first", "second")
MARKS = {"good": "✓", "bad": "✗", "note": "·"}

Sounds = Mapping[str, Audio]
"""Audio by the sentence's id."""


def page(report: Report, spoken: Sequence[Sounds], references: Sounds) -> str:
    """The page. spoken: what each model said; references: what it was compared with."""
    names = " against ".join(model.id for model in report.models)
    parts = [
        f"<h1>{escape(names)}</h1>",
        _about(report),
        _summary(report),
        "<h2>Figures</h2>",
        _figures(report),
        "<h2>Distributions</h2>",
        _plots(report),
        *_players(report, spoken, references),
        _all(report),
        "<h2>How it was measured</h2>",
        _method(report),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evaluation of {escape(names)}</title><style>{STYLE}</style></head><body><main>"
        f"{''.join(parts)}</main></body></html>\n"
    )


def _about(report: Report) -> str:
    material = report.material
    lines = [
        f"{len(report.models[0].sentences)} sentences from <b>{escape(material.name)}</b> "
        f"({escape(', '.join(material.languages))}), said by {escape(', '.join(material.voices))} in the quality "
        f"{escape(material.quality)}, and compared with {escape(material.references)}. {escape(report.made)}."
    ]
    for model, colour in zip(report.models, COLOURS, strict=False):
        warning = f" <i>{escape(model.warning)}</i>" if model.warning else ""
        lines.append(
            f'<span class="chip {colour}"></span><b>{escape(model.id)}</b>: {escape(model.licence)}; '
            f"{escape(model.device)}, {escape(model.precision)}.{warning}"
        )
    return f'<p class="about">{"<br>".join(lines)}</p>'


def _summary(report: Report) -> str:
    parts = []
    if report.comparison:
        parts.append(f'<p class="verdict">{escape(report.comparison.verdict)}</p>')
    for model, verdicts in zip(report.models, report.verdicts, strict=True):
        items = "".join(
            f'<li class="{one.mark}"><span>{MARKS[one.mark]}</span> {escape(one.text)}</li>' for one in verdicts
        )
        title = f"<h3>{escape(model.id)}</h3>" if len(report.models) > 1 else ""
        parts.append(f'<section>{title}<ul class="summary">{items}</ul></section>')
    if report.material.left_out:
        items = "".join(f"<li>{escape(reason)}</li>" for reason in report.material.left_out)
        parts.append(f"<details><summary>{len(report.material.left_out)} left out</summary><ul>{items}</ul></details>")
    return "".join(parts)


# -- figures


def _figures(report: Report) -> str:
    columns = [_column(model) for model in report.models]
    heads = "".join(f"<th>{escape(model.id)}</th>" for model in report.models)
    rows = []
    for name in dict.fromkeys(name for column in columns for name in column):
        cells = "".join(f"<td>{column.get(name, '')}</td>" for column in columns)
        rows.append(f"<tr><th>{escape(name)}</th>{cells}</tr>")
    return f'<table class="figures"><thead><tr><th></th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _column(model: Model) -> dict[str, str]:
    """What the table says of a model, in HTML, by the name of the row."""
    figures = model.figures
    rows = {
        "spoken": f"{figures.spoken} of {figures.sentences}" + _also(figures.silent, "silent"),
        "content found (top 1)": f"{figures.accuracy:.1%} "
        f"<small>{figures.accuracy_low:.0%} to {figures.accuracy_high:.0%}; chance {figures.chance:.0%}</small>",
        "margin to the nearest other": _spread(figures.margin, "{:+.1%}"),
        "word errors": _errors(figures),
        "stops by itself": f"{figures.stopped:.1%}",
        "guards": ", ".join(f"{escape(name)} {count}" for name, count in figures.guards.items()) or "none",
        "duration against the reference": _spread(figures.duration_ratio, "{:.2f}")
        + f"; {figures.duration_in_range:.0%} within 0.6 to 1.6",
        "codes per character": _spread(figures.codes_per_character, "{:.2f}"),
        "codes per character of the references": _spread(figures.reference_codes_per_character, "{:.2f}"),
        "similarity to the voice": _spread(figures.similarity, "{:.3f}"),
        "similarity to the nearest other voice": _spread(figures.other_similarity, "{:.3f}"),
        "similarity of recordings to the voice": _spread(figures.reference_similarity, "{:.3f}"),
        "steady timbre": _timbre(figures),
        "voices told apart": "" if figures.voices_told_apart is None else f"{figures.voices_told_apart:.1%}",
        "level, LUFS": _spread(figures.loudness, "{:.1f}"),
        "highest peak, dBFS": f"{figures.highest_peak:.1f}",
        "clipped sentences": f"{figures.clipped:.1%}",
        "noise below the speech, dB": _spread(figures.signal_to_noise, "{:.0f}"),
        "seconds of work per second": f"{figures.real_time_factor:.2f} <small>{escape(model.device)}</small>",
    }
    rows |= {
        f"held-out loss: {name}": f"{value:.3f}"
        for name, value in (model.losses.values if model.losses else {}).items()
    }
    return {name: value for name, value in rows.items() if value}


def _timbre(figures: Figures) -> str:
    if figures.steady_timbre is None:
        return ""
    told = [
        f"{escape(voice)}: " + ", ".join(f"{escape(reader)} {count}" for reader, count in counts.items())
        for voice, counts in figures.readers.items()
    ]
    return f"{figures.steady_timbre:.1%} <small>{'; '.join(told)}</small>"


def _also(count: int, what: str) -> str:
    return f", {count} {what}" if count else ""


def _errors(figures: Figures) -> str:
    if figures.word_error_rate is None:
        return ""
    return f"{figures.word_error_rate:.1%} <small>of the references {figures.reference_word_error_rate:.1%}</small>"


def _spread(spread: Spread | None, style: str) -> str:
    if spread is None:
        return ""
    low, middle, high = (style.format(value) for value in (spread.low, spread.median, spread.high))
    return f"{middle} <small>{low} to {high}</small>"


# -- plots


def _plots(report: Report) -> str:
    models = list(zip(report.models, COLOURS, strict=False))
    heard = [(model.id, [one for one in model.sentences if one.candidates], colour) for model, colour in models]
    distances = [
        Points(name, [(one.distance, one.nearest_other, f"{one.id}: {one.text}") for one in found], colour)
        for name, found, colour in heard
    ]
    ratios = [Series(name, [one.duration_ratio for one in found], colour) for name, found, colour in heard]
    codes = [Series("references", [one.reference_codes_per_character for one in heard[0][1]], "reference")]
    codes += [Series(name, [one.codes_per_character for one in found], colour) for name, found, colour in heard]
    alike = [Series("nearest other voice", _known(heard[0][1], "other_similarity"), "reference")]
    alike += [Series(name, _known(found, "similarity"), colour) for name, found, colour in heard]
    figures = [
        (
            scatter(distances, "distance from the own reference", "from the nearest other"),
            "Content: above the line the sentence is found.",
        ),
        (
            histogram(ratios, "duration against the reference", 1.0),
            "Length of speech; at 1 it lasts as long as the reference.",
        ),
        (histogram(codes, "codes per character"), "Pace; grey: the references."),
        (
            histogram(alike, "cosine with the voice"),
            "Voice, by the model's own encoder; grey: the nearest other voice.",
        ),
    ]
    return (
        '<div class="plots">'
        + "".join(f"<figure>{picture}<figcaption>{escape(words)}</figcaption></figure>" for picture, words in figures)
        + "</div>"
    )


def _known(sentences: Sequence[Sentence], field: str) -> list[float]:
    return [value for one in sentences if (value := getattr(one, field)) is not None]


# -- sentences


def badness(sentence: Sentence) -> tuple[int, float]:
    """Orders sentences, the worst first: those that failed, that are silent, that were not found, and by margin."""
    if sentence.failure:
        return 0, 0.0
    if sentence.silent:
        return 1, 0.0
    return (2 if not sentence.found else 3), sentence.margin


def _players(report: Report, spoken: Sequence[Sounds], references: Sounds) -> list[str]:
    rows = list(zip(*(model.sentences for model in report.models), strict=True))
    ranked = sorted(rows, key=lambda row: min(badness(one) for one in row))
    best = sorted(rows[:0] + ranked[WORST:], key=lambda row: max(badness(one) for one in row), reverse=True)
    return [
        "<h2>The worst sentences</h2>",
        _listing(report, ranked[:WORST], spoken, references),
        "<h2>The best sentences</h2>" if best else "",
        _listing(report, best[:BEST], spoken, references) if best else "",
    ]


def _listing(report: Report, rows: Sequence[tuple[Sentence, ...]], spoken: Sequence[Sounds], references: Sounds) -> str:
    parts = []
    for row in rows:
        sounds = [
            f'<div><span class="chip {colour}"></span>{escape(model.id)}: {_told(one)}'
            f"{_player(said.get(one.id), one.failure)}</div>"
            for model, one, said, colour in zip(report.models, row, spoken, COLOURS, strict=False)
        ]
        sounds.append(
            f'<div><span class="chip reference"></span>reference: {row[0].reference_seconds:.1f} s'
            f"{_player(references.get(row[0].id), '')}</div>"
        )
        parts.append(
            f"<article><p><small>{escape(row[0].id)}, {escape(row[0].voice)}</small> {escape(row[0].text)}</p>"
            f'<div class="sounds">{"".join(sounds)}</div></article>'
        )
    return "".join(parts)


def _told(sentence: Sentence) -> str:
    """A sentence's own figures, in a few words."""
    if sentence.failure:
        return "not spoken"
    if sentence.silent:
        return "silent"
    place = "found" if sentence.found else f"in place {sentence.rank} of {sentence.candidates}"
    told = [place, f"margin {sentence.margin:+.1%}", f"{sentence.seconds:.1f} s", *sentence.guards]
    told += [f"heard: “{sentence.heard}”"] if sentence.heard is not None else []
    return escape(", ".join(told))


def _player(audio: Audio | None, failure: str) -> str:
    if audio is None or not len(audio.samples):
        return f"<p>{escape(failure)}</p>" if failure else ""
    data = base64.b64encode(encode_file(audio.samples, audio.sample_rate, "mp3")).decode()
    return f'<audio controls preload="metadata" src="data:audio/mpeg;base64,{data}"></audio>'


def _all(report: Report) -> str:
    """Every sentence in a row of a table that is folded away."""
    heads = "".join(f"<th>{escape(model.id)}</th>" for model in report.models)
    rows = [
        f"<tr><td>{escape(row[0].id)}</td><td>{escape(row[0].text)}</td>"
        + "".join(f'<td class="{"" if one.found else "lost"}">{_told(one)}</td>' for one in row)
        + "</tr>"
        for row in zip(*(model.sentences for model in report.models), strict=True)
    ]
    return (
        f"<details><summary>All {len(rows)} sentences</summary><table><thead><tr><th></th><th>text</th>{heads}</tr>"
        f"</thead><tbody>{''.join(rows)}</tbody></table></details>"
    )


def _method(report: Report) -> str:
    words = [
        "Every sentence goes the way of a request to the server: resolved, split, spoken with the profile's sampling "
        "and guards; post-processors are left out, so that levels and silences are the model's own. The sentence of "
        f"number n has the seed {report.material.seed} + n.",
        "Content: mel-cepstra (20 coefficients without the level, each normalised over the sentence) are matched by "
        "dynamic time warping with the sentence's own reference and those of nine others of like length, of the same "
        "speaker where there are enough. It is found when its own is the nearest. Readings by espeak-ng are two for "
        "each sentence, a man's and a woman's, of which the nearer counts: cepstra hold the timbre as well as the "
        "words. A recording stands alone, so that another timbre than its speaker's counts against a sentence, too. "
        "This needs no recogniser, and sees missing, wrong and swapped words; it does not hear pronunciation as a "
        "listener does.",
        "Steady timbre: share of the sentences that are nearer to that reader which most sentences of the same voice "
        "are nearer to.",
        "Stops by itself: the stop code was drawn within the bounds of the text's length, at the first try. Otherwise "
        "a guard acted: premature, loop, limit, shaped, silence, silent, retry.",
        "Similarity: cosine of speaker embeddings by the encoder of the model itself, which is no judge from outside: "
        "a model that fools its own encoder is not found out. Between models with different encoders the numbers "
        "cannot be compared.",
    ]
    if len({model.encoder for model in report.models}) > 1:
        words.append("The models here have different speaker encoders: their similarities cannot be compared.")
    return "".join(f"<p>{escape(one)}</p>" for one in words)
