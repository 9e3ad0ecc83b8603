"""The report as one HTML file: plots and players are inside it, so that it can be sent to somebody."""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

import msgspec

from more_train.dataset import plots
from more_train.dataset.format import Clip, Refused
from more_train.dataset.judge import Candidate
from more_train.dataset.report import Report
from more_train.dataset.style import STYLE

MOST_KEPT, MOST_REFUSED, PER_REASON = 12, 24, 4
"""Clips with a player; each is 100 kB of the page."""
MOST_ROWS = 500
"""Of the list of what was refused; all of it is in refused.jsonl."""
TITLES = {
    "characters": "too many characters", "clipped": "clipped", "contradiction": "two texts for one recording",
    "duplicate": "there twice", "encrypted": "encrypted", "foreign": "in a format that is not read",
    "language": "in another language", "large": "too large", "line": "broken line", "link": "a link, no file",
    "long": "too long", "missing": "missing", "no_pause": "no pause to cut at", "no_speech": "no speech",
    "no_text": "no text", "noise": "noisy", "outside": "outside the source", "pace": "text and length do not fit",
    "short": "too short", "twice": "named twice", "unnamed": "not in metadata.csv",
    "unread": "not read this time", "unreadable": "damaged",
    "unsure": "Whisper is not sure",
}  # fmt: skip
Player = Callable[[str], bytes]
"""MP3 of a clip, by its id."""


def page(
    report: Report,
    candidates: Sequence[Candidate],
    clips: Sequence[Clip],
    refused: Sequence[Refused],
    players: Mapping[str, bytes],
) -> str:
    """The page; players: MP3 of those clips that `heard` names."""
    by_id = {candidate.piece.id: candidate for candidate in candidates}
    good = {clip.id for clip in clips}
    title = escape(report.dataset.name)
    body = [
        f"<header><h1>{title}</h1><p>{_summary(report)}</p></header>",
        _tiles(report),
        _list("What would make it better", report.advice),
        _plots(report, candidates, good),
        _speakers(report),
        _kept(clips, by_id, players),
        _refused_clips(refused, by_id, players),
        _refused_rows(refused),
        _settings(report),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}: dataset</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main>\n{chr(10).join(body)}\n</main></body></html>\n"
    )


def heard(clips: Sequence[Clip], refused: Sequence[Refused]) -> list[str]:
    """Ids of the clips that get a player: kept ones from beginning to end, and some for every reason."""
    step = max(1, len(clips) // MOST_KEPT)
    chosen = [clip.id for clip in clips[::step][:MOST_KEPT]]
    count: dict[str, int] = {}
    others: list[str] = []
    for row in refused:
        if row.id and count.get(row.reasons[0], 0) < PER_REASON and len(others) < MOST_REFUSED:
            count[row.reasons[0]] = count.get(row.reasons[0], 0) + 1
            others.append(row.id)
    return chosen + others


def long(seconds: float) -> str:
    """A length in words."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _summary(report: Report) -> str:
    dataset = report.dataset
    speakers = _counted(report.speakers, "speaker")
    return escape(
        f"{dataset.clips} clips, {long(dataset.seconds)} of {dataset.language} by {speakers}, out of "
        f"{report.recordings} recordings of {long(report.recorded_seconds)}, {long(report.speech_seconds)} of them "
        f"speech. Made from {dataset.source}."
    )


def _counted(things: Sequence[object], name: str) -> str:
    return f"{len(things)} {name}" if len(things) == 1 else f"{len(things)} {name}s"


def _tiles(report: Report) -> str:
    dataset = report.dataset
    tiles = (
        (f"{dataset.clips}", "clips"),
        (long(dataset.seconds), "of speech"),
        (f"{dataset.held_out}", "held out of training"),
        (f"{report.refused_clips}", f"clips refused, {long(report.refused_seconds)}"),
        (f"{report.padded}", "clips with room added"),
        (f"{report.softer}", "clips softer than asked"),
    )
    return '<div class="tiles">' + "".join(f"<div><b>{a}</b><span>{b}</span></div>" for a, b in tiles) + "</div>"


def _list(title: str, sentences: Sequence[str]) -> str:
    if not sentences:
        return f"<section><h2>{title}</h2><p>Nothing was found.</p></section>"
    items = "".join(f"<li>{escape(sentence[:1].upper() + sentence[1:])}.</li>" for sentence in sentences)
    return f"<section><h2>{title}</h2><ul>{items}</ul></section>"


def _plots(report: Report, candidates: Sequence[Candidate], good: set[str]) -> str:
    points: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    for candidate in candidates:
        points[candidate.piece.id in good].append((candidate.piece.seconds, float(len(candidate.spoken))))
    drawn = (
        ("Length", plots.histogram(report.bars["seconds"], "seconds")),
        ("Text against length", plots.scatter(points[True], points[False], "seconds", "characters")),
        ("Pace", plots.histogram(report.bars["characters_per_second"], "characters a second of speech")),
        ("Speech over noise", plots.histogram(report.bars["signal_to_noise"], "dB, as estimated")),
        ("Loudness before levelling", plots.histogram(report.bars["loudness"], "LUFS")),
        ("Highest frequency", plots.histogram(report.bars["bandwidth"], "kHz")),
    )
    reasons = "".join(
        f'<tr><td>{escape(TITLES.get(reason, reason))}</td><td class="n">{count}</td></tr>'
        for reason, count in report.refused.items()
    )
    shown = "".join(f"<figure><figcaption>{title}</figcaption>{svg}</figure>" for title, svg in drawn if svg)
    if reasons:
        table = f'<div class="columns"><table>{reasons}</table></div>'
        shown += f'<figure class="wide"><figcaption>Refused, by reason</figcaption>{table}</figure>'
    legend = '<p class="legend"><i class="kept"></i>kept <i class="refused"></i>refused</p>'
    return f'<section><h2>What was found</h2>{legend}<div class="plots">{shown}</div></section>'


def _speakers(report: Report) -> str:
    rows = (
        (escape(row.name or row.speaker), escape(row.speaker), str(row.clips), long(row.seconds))
        for row in report.speakers
    )
    return f"<section><h2>Speakers</h2>{_table(('name', 'folder', 'clips', 'length'), rows, numbers=2)}</section>"


def _kept(clips: Sequence[Clip], by_id: Mapping[str, Candidate], players: Mapping[str, bytes]) -> str:
    rows = [
        (_player(players[clip.id]), escape(clip.text), _facts(by_id[clip.id])) for clip in clips if clip.id in players
    ]
    if not rows:
        return ""
    said = f"<p>{len(rows)} of {len(clips)}.</p>"
    return f"<section><h2>Kept clips</h2>{said}{_table(('', 'text', 'figures'), rows)}</section>"


def _refused_clips(refused: Sequence[Refused], by_id: Mapping[str, Candidate], players: Mapping[str, bytes]) -> str:
    rows = [
        (_player(players[row.id]), f"{escape(row.text)}<br><em>{escape(row.why)}</em>", _facts(by_id[row.id]))
        for row in refused
        if row.id in players
    ]
    if not rows:
        return ""
    said = f"<p>{len(rows)} of {sum(bool(row.id) for row in refused)}, some for each reason.</p>"
    return f"<section><h2>Refused clips</h2>{said}{_table(('', 'text and reason', 'figures'), rows)}</section>"


def _refused_rows(refused: Sequence[Refused]) -> str:
    if not refused:
        return ""
    rows = (
        (escape(_place(row)), escape(", ".join(TITLES.get(reason, reason) for reason in row.reasons)), escape(row.why))
        for row in refused[:MOST_ROWS]
    )
    more = f"<p>The first {MOST_ROWS} of {len(refused)}; refused.jsonl has all.</p>" if len(refused) > MOST_ROWS else ""
    return (
        f"<section><h2>All that was refused</h2>{more}<details><summary>{len(refused)} rows</summary>"
        f"{_table(('where', 'reason', 'explanation'), rows)}</details></section>"
    )


def _place(row: Refused) -> str:
    return f"{row.source}, {row.start:.1f} to {row.end:.1f} s" if row.end else row.source


def _settings(report: Report) -> str:
    settings = msgspec.to_builtins(report.dataset.settings)
    rows = ((escape(name), escape(str(value))) for name, value in settings.items() if value != "")
    table = _table(("setting", "value"), rows)
    return f"<section><h2>Settings</h2><details><summary>all</summary>{table}</details></section>"


def _facts(candidate: Candidate) -> str:
    piece = candidate.piece
    return (
        f'<span class="facts">{piece.seconds:.1f} s · {candidate.characters_per_second:.0f} characters/s<br>'
        f"{piece.signal_to_noise:.0f} dB · {piece.loudness:.0f} LUFS</span>"
    )


def _player(content: bytes) -> str:
    return f'<audio controls preload="none" src="data:audio/mpeg;base64,{base64.b64encode(content).decode()}"></audio>'


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: int = 0) -> str:
    """Cells are HTML; the last `numbers` columns are figures."""
    plain = len(columns) - numbers

    def cells(row: Sequence[str], tag: str) -> str:
        kinds = ("" if index < plain else ' class="n"' for index in range(len(row)))
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    lines = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    return f"<table><tr>{cells(columns, 'th')}</tr>{lines}</table>"
