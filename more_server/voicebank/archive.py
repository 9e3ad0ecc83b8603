"""A voice as a zip archive: packed, and unpacked out of whatever a stranger sends."""

import io
import stat
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from more_server import voice_toml
from more_server.archive import opened, pieces, problem
from more_server.errors import BadInput, TooLarge, allowed, shown
from more_server.speech import Voice
from more_server.tables import LimitSettings
from more_server.voice_toml import REFERENCE_SUFFIXES
from more_server.voicebank.details import HIDDEN, TEXTS, Clips, Details, about, check_new_id, checked, fitted, new_voice
from more_server.voices import check_clip

MOST_ENTRIES = 200
"""Of an archive, whatever its system strews among them."""
OVERHEAD_BYTES = 1_048_576
"""Of an archive or a form beyond the clips."""
STREWN = frozenset({"thumbs.db", "desktop.ini"})
"""What Windows leaves in folders; macOS's names begin with a dot or lie in `__MACOSX`."""


def largest_archive(limits: LimitSettings) -> int:
    """Bytes of the largest archive, or form, that holds a voice."""
    return limits.voice_references * limits.reference_bytes + OVERHEAD_BYTES


def pack(voice: Voice, clips: Mapping[str, bytes]) -> bytes:
    """A zip archive of `<id>/voice.toml` and its clips, to be imported or unpacked into a folder of voices.

    The same voice gives the same bytes. Raises BadInput for one without clips.
    """
    if not clips:
        raise BadInput(f"the voice {voice.id!r} is the model's own; it has no recordings", param="voice")
    voice, clips = fitted(voice, clips)
    files = {voice_toml.FILE_NAME: voice_toml.written(voice), **clips}
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(f"{voice.id}/{name}", (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, (stat.S_IFREG | 0o644) << 16
            archive.writestr(entry, content)
    return sink.getvalue()


# -- unpacked


def unpack(content: bytes, limits: LimitSettings, voice_id: str = "") -> tuple[Voice, Clips]:
    """A voice out of a zip archive: its files, or one folder that holds them, as `pack` or a person makes it.

    voice_id: what it is to be called, else as the folder is. Nothing of the archive is trusted: sizes are counted
    while they come out, names are never used as paths. Raises BadInput or TooLarge saying what is wrong.
    """
    if voice_id:
        check_new_id(voice_id)
    folder, files = _files(content, limits)
    told, named = files.pop(voice_toml.FILE_NAME), voice_id or folder
    if not named:
        raise BadInput(
            "the archive does not say what the voice is called; name it, or put its files into a folder of that name",
            param="name",
        )
    check_new_id(named)
    for name, clip in files.items():
        try:
            check_clip(PurePosixPath(name).suffix.lower(), clip, limits)
        except BadInput as error:
            raise about(name, error, "file") from error
    try:
        fields = _described(told, files)
    except BadInput as error:
        raise about(voice_toml.FILE_NAME, error, "file") from error
    return fitted(new_voice(named, fields, sorted(files)), files)


def _files(content: bytes, limits: LimitSettings) -> tuple[str, Clips]:
    """The folder that holds the files, or nothing, and voice.toml and clips by name. Raises BadInput."""
    if len(content) > largest_archive(limits):
        raise TooLarge(f"the archive is larger than {largest_archive(limits)} bytes", param="file")
    with opened(io.BytesIO(content), "the archive", MOST_ENTRIES, "file") as archive:
        folder, entries = _entries(archive.infolist(), limits)
        return folder, {name: _content(archive, entry, name) for name, entry in entries.items()}


def _entries(infos: Sequence[zipfile.ZipInfo], limits: LimitSettings) -> tuple[str, dict[str, zipfile.ZipInfo]]:
    """The folder that holds the files, or nothing, and the files by name. Raises BadInput."""
    found: dict[str, zipfile.ZipInfo] = {}
    folders = set()
    for info in infos:
        folder, name = _place(info)
        if folder == "__MACOSX" or name.startswith(".") or name.lower() in STREWN:
            continue
        folders.add(folder)
        if not name:
            continue
        if name.lower() in {other.lower() for other in found}:
            raise BadInput(f"the archive holds {shown(name)} twice", param="file")
        _check_entry(info, name, limits)
        found[name] = info
    if voice_toml.FILE_NAME not in found:
        raise BadInput(f"there is no {voice_toml.FILE_NAME} in the archive", param="file")
    if len(folders) > 1:
        raise BadInput(f"a voice is one folder; the archive has: {allowed(map(shown, folders))}", param="file")
    if not 2 <= len(found) <= limits.voice_references + 1:
        raise BadInput(
            f"{len(found) - 1} reference clips in the archive; 1 to {limits.voice_references} are allowed", param="file"
        )
    return folders.pop(), found


def _place(info: zipfile.ZipInfo) -> tuple[str, str]:
    """Folder and name of an entry, the name empty for the folder itself. Raises BadInput for what leads elsewhere."""
    # `filename` is what zipfile makes of it: cut at a zero byte, for one.
    name = info.orig_filename
    parts = name.removesuffix("/").split("/")
    if "\\" in name or ":" in name or HIDDEN.search(name):
        raise BadInput(f"{shown(name)} in the archive: no name has \\, : or what is not seen", param="file")
    if found := problem(info):
        raise BadInput(f"{shown(name)} in the archive: {found[1]}", param="file")
    is_folder = name.endswith("/")
    if parts[0] != "__MACOSX" and len(parts) > (1 if is_folder else 2):
        raise BadInput(f"the archive has folders within folders: {shown(name)}; one is allowed", param="file")
    if is_folder or parts[0] == "__MACOSX":
        return parts[0], ""
    return (parts[0], parts[1]) if len(parts) == 2 else ("", parts[0])


def _check_entry(info: zipfile.ZipInfo, name: str, limits: LimitSettings) -> None:
    """Raises BadInput for what is not taken out, TooLarge by the size that it declares."""
    if name != voice_toml.FILE_NAME and PurePosixPath(name).suffix.lower() not in REFERENCE_SUFFIXES:
        raise BadInput(
            f"the archive holds {shown(name)}, which is neither {voice_toml.FILE_NAME} nor a recording "
            f"({allowed(REFERENCE_SUFFIXES)})",
            param="file",
        )
    if info.file_size > _most(name, limits):
        raise TooLarge(f"{shown(name)} has {info.file_size} bytes; at most {_most(name, limits)}", param="file")


def _most(name: str, limits: LimitSettings) -> int:
    return voice_toml.MOST_BYTES if name == voice_toml.FILE_NAME else limits.reference_bytes


def _content(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, name: str) -> bytes:
    try:
        return b"".join(pieces(archive, entry))
    except BadInput as error:
        raise about(shown(name), error, "file") from error


def _described(content: bytes, clips: Collection[str]) -> dict[str, Any]:
    """Checked fields of a voice from its voice.toml. Raises BadInput."""
    try:
        told = voice_toml.parsed(content, clips)
    except (ValueError, RecursionError) as error:
        raise BadInput(str(error)) from error
    details = {field: getattr(told, field) for field in ("languages", "aliases", *TEXTS)}
    details |= {"title": told.name} if told.name.strip() else {}
    return checked(Details(**details), voice_toml.MOST_BYTES) | {"mix": told.mix}
