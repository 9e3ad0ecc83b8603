"""metadata.csv: which recording says what. LJSpeech's `file|text` and `file|text|normalised`, and coqui's
`audio_file|text|speaker_name` below a header; each such file speaks for its own folder.
"""

import posixpath
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from more_server.errors import BadInput, TooLarge, shown
from more_server.lessons.recordings import is_metadata
from more_train.dataset.format import Refused
from more_train.dataset.sources import Entry, Source

MOST_BYTES = 134_217_728
"""Of one file: a million lines."""
MOST_CHARACTERS = 2_000
"""Of a text; XTTS takes 250 at most, and all of them are read aloud before they are counted."""
FOLDERS = ("", "wavs", "audio", "clips")
"""Below metadata.csv's own folder, where names without one are looked for."""
FILE = frozenset(("audio_file", "file", "file_name", "filename", "path", "audio", "wav", "id"))
TEXT = frozenset(("text", "transcript", "transcription", "sentence"))
NORMALISED = frozenset(("normalized_text", "normalised_text", "normalized_transcription", "normalized", "normalised"))
SPEAKER = frozenset(("speaker_name", "speaker", "speaker_id"))


class Labelled(msgspec.Struct, frozen=True):
    """A recording whose text is known."""

    entry: Entry
    """Where it lies."""
    text: str
    """What it says."""
    speaker: str
    """Who says it; empty: not told."""
    line: str
    """Where that is written, for people."""


class Metadata(msgspec.Struct, frozen=True):
    """What all metadata.csv of a source tell."""

    labelled: list[Labelled]
    """Recordings that can be used."""
    refused: list[Refused]
    """Lines that cannot."""
    named: frozenset[str]
    """Recordings that any line names."""


def read_metadata(source: Source, scratch: Path) -> Metadata | None:
    """None where there is no metadata.csv. Raises BadInput where one cannot be read at all."""
    files = [entry for entry in source.entries.values() if is_metadata(entry.name)]
    if not files:
        return None
    lookup = _Lookup(source)
    found: list[Labelled | Refused] = []
    for file in files:
        found += _rows(file, _content(source, file, scratch), lookup)
    once, twice = _once([row for row in found if isinstance(row, Labelled)])
    return Metadata(once, [*(row for row in found if isinstance(row, Refused)), *twice], frozenset(lookup.found))


def _content(source: Source, entry: Entry, scratch: Path) -> str:
    with source.open(entry, scratch) as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise TooLarge(f"{entry.name} has more than the {MOST_BYTES} bytes allowed", param="source")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{entry.name}, line {line}: it is not UTF-8; save it as UTF-8", param="source") from error


def _rows(file: Entry, content: str, lookup: "_Lookup") -> Iterator[Labelled | Refused]:
    lines = content.splitlines()
    if lines and not any("|" in line for line in lines):
        raise BadInput(
            f"{file.name}: no line has a |, as in `wavs/0001.wav|What is said.`; the first is {shown(lines[0])}",
            param="source",
        )
    columns = _header(lines[0]) if lines else None
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (columns and number == 1):
            continue
        if row := _row(line, f"{file.name}, line {number}", columns, posixpath.dirname(file.name), lookup):
            yield row


def _header(line: str) -> Mapping[str, int] | None:
    """Columns by what they hold, where the first line names them."""
    kinds = {"file": FILE, "text": TEXT, "normalised": NORMALISED, "speaker": SPEAKER}
    fields = [field.strip().strip('"').lower() for field in line.split("|")]
    found = {kind: fields.index(name) for kind, names in kinds.items() for name in names if name in fields}
    return found if {"file", "text"} <= found.keys() else None


def _row(
    line: str, where: str, columns: Mapping[str, int] | None, folder: str, lookup: "_Lookup"
) -> Labelled | Refused | None:
    """What a line tells; None where its recording was refused already."""
    fields = [_unquoted(field) for field in line.split("|")]
    wanted = columns or {"file": 0, "text": 1, "normalised": 2}
    told = {kind: fields[column].strip() for kind, column in wanted.items() if column < len(fields)}
    if len(fields) < 2 or len(fields) > (max(columns.values()) + 1 if columns else 3) + 8:
        return Refused(source=where, reasons=("line",), why=f"{shown(line)} is not `file|text`")
    name, text = told.get("file", ""), told.get("normalised") or told.get("text", "")
    entry = lookup.find(folder, name)
    if entry == "refused":
        return None
    if isinstance(entry, str):
        why = f"{shown(name)} leads out of the folder" if entry == "outside" else f"there is no {shown(name)}"
        return Refused(source=where, reasons=(entry,), why=why, text=text)
    if not any(character.isalnum() for character in text):
        return Refused(source=where, reasons=("no_text",), why=f"{entry.name} has no text", text=text)
    if len(text) > MOST_CHARACTERS:
        why = f"the text of {entry.name} has {len(text)} characters; at most {MOST_CHARACTERS} are looked at"
        return Refused(source=where, reasons=("characters",), why=why, text=shown(text))
    return Labelled(entry, cleaned(text), told.get("speaker", ""), where)


def _unquoted(field: str) -> str:
    """Without the quotation marks that pandas puts around fields that hold one."""
    field = field.strip()
    inner = field[1:-1]
    if len(field) >= 2 and field[0] == field[-1] == '"' and '"' in inner and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return field


def cleaned(text: str) -> str:
    """A text in one line, its accents composed, without what is not seen."""
    composed = unicodedata.normalize("NFC", text)
    seen = (c if not c.isspace() else " " for c in composed if unicodedata.category(c) != "Cc" or c.isspace())
    return " ".join("".join(seen).replace("\ufeff", "").split())


def _once(rows: list[Labelled]) -> tuple[list[Labelled], list[Refused]]:
    """Rows whose recording is named once, or always with one text; what is left out of them."""
    by_name: dict[str, list[Labelled]] = {}
    for row in rows:
        by_name.setdefault(row.entry.name, []).append(row)
    kept, refused = [], []
    for same in by_name.values():
        if len({(row.text, row.speaker) for row in same}) > 1:
            places = ", ".join(row.line for row in same[:5])
            why = f"it is named more than once, with different texts or speakers: {places}"
            refused.append(Refused(source=same[0].entry.name, reasons=("contradiction",), why=why, text=same[0].text))
            continue
        kept.append(same[0])
        refused += [
            Refused(source=row.line, reasons=("twice",), why=f"{row.entry.name} was named before", text=row.text)
            for row in same[1:]
        ]
    return kept, refused


class _Lookup:
    """Recordings by the names that a line may give them."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._stems: dict[str, Entry] = {}
        self._refused = {form for row in source.refused for form in (row.source, posixpath.splitext(row.source)[0])}
        self.found: set[str] = set()
        """Names of the recordings that were."""
        for entry in source.entries.values():
            if entry.is_recording:
                stem = posixpath.splitext(entry.name)[0]
                self._stems.setdefault(unicodedata.normalize("NFC", stem), entry)

    def find(self, folder: str, name: str) -> Entry | str:
        """The recording; else why there is none: `outside`, `missing`, or `refused`, which was told before."""
        name = name.replace("\\", "/")
        path = posixpath.normpath(posixpath.join(folder, name))
        if name.startswith("/") or path == ".." or path.startswith("../"):
            return "outside"
        for inside in FOLDERS if name else ():
            path = posixpath.normpath(posixpath.join(folder, inside, name))
            entry = self._source.find(path) or self._stems.get(unicodedata.normalize("NFC", path))
            if entry:
                self.found.add(entry.name)
                return entry
            if path in self._refused:
                return "refused"
        return "missing"
