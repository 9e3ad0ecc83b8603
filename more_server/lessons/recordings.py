"""Which files a dataset is made of, by their names; the content is looked at where it is made."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from more_server.audio.read import CONTAINERS
from more_server.errors import BadInput
from more_server.lessons import archive

READABLE = frozenset(
    (
        *(".wav", ".w64", ".mp3", ".m4a", ".m4b", ".mp4", ".mov", ".3gp", ".aac", ".ogg", ".oga", ".opus", ".flac"),
        *(".webm", ".mka", ".mkv", ".aiff", ".aif", ".aifc", ".caf"),
    )
)
ARCHIVE = ".zip"
METADATA = frozenset(("metadata.csv", "metadata_train.csv", "metadata_eval.csv"))
"""The latter two are what coqui's fine-tuning page writes; what is held out is chosen anew."""
STREWN = frozenset(("thumbs.db", "desktop.ini", "__macosx"))
"""What systems leave in folders, beside names that begin with a dot."""
MOST_FILES = 500_000
"""Of a dataset's source, unless its settings say otherwise."""
MOST_REASONS = 3


def is_recording(name: str) -> bool:
    """Whether it looks like audio that can be read."""
    return PurePosixPath(name).suffix.lower() in READABLE


def is_metadata(name: str) -> bool:
    """Whether it tells what recordings say."""
    return PurePosixPath(name).name.lower() in METADATA


def is_archive(name: str) -> bool:
    """Whether it holds other files."""
    return PurePosixPath(name).suffix.lower() == ARCHIVE


def is_strewn(name: str) -> bool:
    """Whether a file or folder is none of a person's."""
    return name.startswith(".") or name.lower() in STREWN


def check_source(files: Sequence[tuple[str, Path]], *, transcribed: bool) -> None:
    """That these files, by name, can become a dataset: an archive, or recordings with a metadata.csv.

    transcribed: texts will be written for recordings that have none. Raises BadInput or TooLarge.
    """
    archives = [name for name, _ in files if is_archive(name)]
    if archives and len(files) > 1:
        raise BadInput(f"{archives[0]} is an archive, which comes alone; put all recordings into it", param="uploads")
    names, problems = _inside(*files[0]) if archives else ([name for name, _ in files], [])
    where = archives[0] if archives else "the uploads"
    if not any(is_recording(name) for name in names):
        told = f": {'; '.join(problems[:MOST_REASONS])}" if problems else ""
        raise BadInput(f"there is no recording in {where}; put {CONTAINERS} there{told}", param="uploads")
    if not transcribed and not any(is_metadata(name) for name in names):
        raise BadInput(
            f"there is no metadata.csv in {where}, so the texts are not known: write one with lines like "
            "`wavs/0001.wav|What is said.`, or name a Whisper model (whisper)",
            param="uploads",
        )


def _inside(name: str, path: Path) -> tuple[list[str], list[str]]:
    """Files of an archive that can be taken out, and why others cannot."""
    names, problems = [], []
    try:
        opened = archive.opened(path, MOST_FILES)
    except BadInput as error:
        raise type(error)(error.message.replace(path.name, name), param="uploads") from error
    with opened:
        for info in opened.infolist():
            inner = archive.name_of(info)
            if any(is_strewn(part) and part != ".." for part in inner.removesuffix("/").split("/")):
                continue
            if problem := archive.problem(info, inner):
                problems.append(f"{ascii(inner)[:80]}: {problem[1]}")
            elif not inner.endswith("/"):
                names.append(inner)
    return names, problems
